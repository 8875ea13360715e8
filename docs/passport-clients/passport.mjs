// Makes a test request that is believed, with nothing but Node.js: `headers` is all that a client needs.
//
// node passport.mjs METHOD URL TENANT KEY_ID KEY_FILE < body

import { createHash, createHmac, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

/** The header fields to send with the request; sent once, within a minute. `body` is a Buffer, empty for none. */
export function headers(method, url, body, tenant, keyId, key) {
  const parts = new URL(url); // as fetch() will send it: lower-case host, no default port, no dot segments
  const added = { "X-Test-Traffic": tenant };
  if (body.length) added["Content-Digest"] = `sha-256=:${createHash("sha256").update(body).digest("base64")}:`;
  const covered = { "@method": method, "@authority": parts.host, "@path": parts.pathname, "@query": parts.search || "?" };
  for (const [name, value] of Object.entries(added)) covered[name.toLowerCase()] = value;
  const names = Object.keys(covered).map((name) => `"${name}"`).join(" ");
  const now = Math.floor(Date.now() / 1000);
  const nonce = randomBytes(18).toString("base64url");
  const signed = `(${names});created=${now};expires=${now + 60};nonce="${nonce}";keyid="${keyId}";tag="shadowproxy"`;
  const lines = Object.entries(covered).map(([name, value]) => `"${name}": ${value}`);
  lines.push(`"@signature-params": ${signed}`);
  const signature = createHmac("sha256", key).update(lines.join("\n")).digest("base64");
  return { ...added, "Signature-Input": `test=${signed}`, Signature: `test=:${signature}:` };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [method, url, tenant, keyId, keyFile] = process.argv.slice(2);
  const found = headers(method, url, readFileSync(0), tenant, keyId, readFileSync(keyFile, "utf8").trim());
  for (const [name, value] of Object.entries(found)) console.log(`${name}: ${value}`);
}
