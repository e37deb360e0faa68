// npm's jose, as a relying party and as an issuer. node client_jose.mjs verify ISSUER AUDIENCE reads a token; … sign ALGORITHM ISSUER AUDIENCE
// makes a key. Prints one line of JSON; what is refused is an answer, too.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const folder = path.join(process.env.PODPASS_CLIENTS, 'jose', 'package.json');
const jose = await import(pathToFileURL(createRequire(folder).resolve('jose')));
const [verb, ...words] = process.argv.slice(2);

// As relying parties do it: by the issuer's own documents.
async function verify(issuer, audience) {
  const document = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
  const keys = jose.createRemoteJWKSet(new URL(document.jwks_uri));
  const options = { issuer: document.issuer, audience, algorithms: document.id_token_signing_alg_values_supported };
  return jose.jwtVerify(readFileSync(0, 'utf8').trim(), keys, options).then(
    ({ payload, protectedHeader }) => ({ payload, header: protectedHeader }),
    (refusal) => ({ refused: refusal.code }));
}

async function sign(algorithm, issuer, audience) {
  const { publicKey, privateKey } = await jose.generateKeyPair(algorithm, { extractable: true });
  const jwk = await jose.exportJWK(publicKey);
  const kid = await jose.calculateJwkThumbprint(jwk);
  const token = await new jose.SignJWT({}).setProtectedHeader({ alg: algorithm, kid }).setIssuer(issuer).setAudience(audience)
    .setSubject('somebody').setIssuedAt().setExpirationTime('10m').sign(privateKey);
  return { token, jwks: { keys: [{ ...jwk, kid, alg: algorithm, use: 'sig' }] }, bare: { keys: [jwk] } };
}

console.log(JSON.stringify(await { verify, sign }[verb](...words)));
