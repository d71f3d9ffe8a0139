/** A certificate for tests and its key: self-signed, for localhost and 127.0.0.1, from 2020 to 2120. */

/** The certificate, which is its own authority. */
export const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBaDCCAQ2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAX1+dhr66PVQkZl
bRvqBJw25oj2FAOmR+nTxz8bAhc6bkvzvNlY1Pg+pKqD0cZjS9MEE4Lq/6pFp5+1
X0cNvD+jTjBMMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAPBgNVHRMBAf8E
BTADAQH/MB0GA1UdDgQWBBSo4HNAVvcyvYiY6F/gApTnlaxAhDAKBggqhkjOPQQD
AgNJADBGAiEAmtQBzwwa1uVK6uSUzPANtm4AAMT09hEn+6El2WKlBXQCIQDs12GF
lZt7GqWXEnBVtwNGTUlJJwzkzmWmwMUXYf/WJQ==
-----END CERTIFICATE-----
`;

/** It opens nothing but test servers. */
export const PRIVATE_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgYu+qkwcPAk8jzNIp
cmsfYdSXSgniiJ9jYV4OdfWmyEOhRANCAAQF9fnYa+uj1UJGZW0b6gScNuaI9hQD
pkfp08c/GwIXOm5L87zZWNT4PqSqg9HGY0vTBBOC6v+qRaeftV9HDbw/
-----END PRIVATE KEY-----
`;

/** A folder with both as files, cleared away with its test. */
export interface TlsFiles extends AsyncDisposable {
  readonly cert: string;
  readonly key: string;
  /** The settings of a server on any free port. */
  readonly settings: Readonly<Record<string, string>>;
}

/** Writes the files. */
export async function writeTlsFiles(certificate = CERTIFICATE, privateKey = PRIVATE_KEY): Promise<TlsFiles> {
  const folder = await Deno.makeTempDir({ prefix: "hearth-tls-" });
  const cert = `${folder}/cert.pem`;
  const key = `${folder}/key.pem`;
  await Deno.writeTextFile(cert, certificate);
  await Deno.writeTextFile(key, privateKey);
  return {
    cert,
    key,
    settings: { MQTT_TLS_PORT: "0", MQTT_TLS_CERT: cert, MQTT_TLS_KEY: key },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}
