// The official JavaScript client, unchanged, in one walk; each step prints a line of JSON for the test that reads them.
// node client_node.mjs KUBECONFIG NAMESPACE [POD]: with a POD also what reaches into a container.
import { PassThrough } from 'node:stream';
import net from 'node:net';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import path from 'node:path';

const folder = path.join(process.env.PODPASS_CLIENTS, 'client-node', 'package.json');
const k8s = await import(pathToFileURL(createRequire(folder).resolve('@kubernetes/client-node')));
const [kubeconfig, namespace, pod] = process.argv.slice(2);
const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);
const core = config.makeApiClient(k8s.CoreV1Api);
const say = (step, result) => console.log(JSON.stringify({ step, result }));
const collect = (stream) => new Promise((resolve) => {
  let text = '';
  stream.on('data', (part) => { text += part; });
  stream.on('end', () => resolve(text));
});

async function objects() {
  const made = await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'js' }, data: { k: '1' } } });
  say('create', made.data);
  made.data = { k: '2' };
  say('replace', (await core.replaceNamespacedConfigMap({ namespace, name: 'js', body: made })).data);
  const patched = await core.patchNamespacedConfigMap(
    { namespace, name: 'js', body: [{ op: 'add', path: '/data/l', value: '3' }] },
    k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.JsonPatch));
  say('patch', patched.data);
  await core.readNamespacedConfigMap({ namespace, name: 'absent' }).catch((refusal) => say('absent', refusal.code));
  const token = await core.createNamespacedServiceAccountToken({ namespace, name: 'default', body: { spec: { audiences: ['vault'] } } });
  const review = await config.makeApiClient(k8s.AuthenticationV1Api).createTokenReview({ body: { spec: { token: token.status.token, audiences: ['vault'] } } });
  say('review', review.status.user.username);
}

// The watch sees an object that is there, and its end.
async function watched() {
  const seen = [];
  const done = new Promise((resolve, reject) => {
    const watch = new k8s.Watch(config);
    watch.watch(`/api/v1/namespaces/${namespace}/configmaps`, { fieldSelector: 'metadata.name=js', timeoutSeconds: 20 },
      (type) => {
        seen.push(type);
        if (type === 'ADDED') core.deleteNamespacedConfigMap({ namespace, name: 'js' }).catch(reject); // it is seen: the watch runs
        if (type === 'DELETED') resolve();
      },
      (failure) => (failure ? reject(failure) : resolve()));
  });
  await done;
  say('watch', seen);
}

async function intoTheContainer() {
  const [out, err, input] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const [texts, errors] = [collect(out), collect(err)];
  const status = await new Promise((resolve, reject) => {
    new k8s.Exec(config).exec(namespace, pod, 'main', ['sh', '-c', 'head -n 1; echo err >&2; exit 3'], out, err, input, false, resolve).catch(reject);
    input.write('hello\n'); // not ended: the protocol v4 has no half-close, so the client would close it all
  });
  out.end();
  err.end();
  say('exec', { out: await texts, err: await errors, status: status.status, cause: status.details?.causes?.[0]?.message });

  const log = new PassThrough();
  const said = collect(log);
  await new k8s.Log(config).log(namespace, pod, 'main', log, { tailLines: 1 });
  say('log', await said);

  const forward = new k8s.PortForward(config);
  const server = net.createServer((socket) => forward.portForward(namespace, pod, [8080], socket, null, socket));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const page = await fetch(`http://127.0.0.1:${server.address().port}/index.html`, { headers: { connection: 'close' } });
  say('forward', await page.text());
}

if (pod) {
  await intoTheContainer();
} else {
  await objects();
  await watched();
}
process.exit(0);
