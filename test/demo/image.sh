#!/usr/bin/env bash
# Builds amazon/aws-cli:latest from Debian's awscli package as an image archive: image.sh ARCHIVE
set -euo pipefail
archive=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mmdebstrap --quiet --variant=essential --include=awscli bookworm "$work/layer.tar" >&2
python3 - "$work" <<'PY'
import hashlib, json, pathlib, sys
work = pathlib.Path(sys.argv[1])
digest = hashlib.sha256()
with open(work / "layer.tar", "rb") as layer:
    while block := layer.read(1 << 20):
        digest.update(block)
config = {"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"], "Cmd": ["/bin/sh"]},
          "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest.hexdigest()]}}
(work / "config.json").write_text(json.dumps(config))
(work / "manifest.json").write_text(json.dumps(
    [{"Config": "config.json", "RepoTags": ["docker.io/amazon/aws-cli:latest"], "Layers": ["layer.tar"]}]))
PY
tar -C "$work" -cf "$archive" manifest.json config.json layer.tar
