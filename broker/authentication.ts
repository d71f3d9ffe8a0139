import { authenticateConnect, type Im, ImError, type Login } from "../im/mod.ts";
import type { Log } from "../log.ts";
import { type ConnectRefusal, isAnonymous } from "./connect.ts";
import type { ConnectPacket } from "./packet.ts";

const strictUtf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Who a CONNECT comes from, by the IM token in its password or by the login cookie of its page; null for an anonymous
 * client where those are allowed; or why it is refused. Never rejects.
 */
export async function authenticate(
  im: Im,
  log: Log,
  connect: ConnectPacket,
  { appToken, allowsAnonymous }: { readonly appToken: string | null; readonly allowsAnonymous: boolean },
): Promise<Login | null | ConnectRefusal> {
  if (allowsAnonymous && isAnonymous(connect)) return null;
  const { userName, clientId, password } = connect;
  if (userName === null || (password === null && appToken === null)) return "bad-credentials";
  let token: string | null = null;
  try {
    if (password !== null) token = strictUtf8.decode(password);
  } catch {
    // A password may be any bytes; a token is text.
    return "bad-credentials";
  }
  try {
    return await authenticateConnect(im, { userId: userName, clientId, password: token, appToken });
  } catch (error) {
    if (error instanceof ImError) return refusalOf(error);
    log.error("CONNECT not checked", error);
    return "server-unavailable";
  }
}

function refusalOf(error: ImError): ConnectRefusal {
  switch (error.error) {
    case "token/invalid":
    case "token/revoked":
      return "bad-credentials";
    case "user/forbidden":
      return "banned";
    case "request/too-often":
      return "quota-exceeded";
    default:
      return "server-unavailable";
  }
}
