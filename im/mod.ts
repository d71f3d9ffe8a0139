/**
 * What requests mean: commands, rules, logins. Functions return who must hear of a change; they call no socket.
 *
 * @module
 */

export { addressKey, isLoopback } from "./address.ts";
export { AppError } from "./app_error.ts";
export type { Caller, SendOrder } from "./caller.ts";
export { type Command, COMMANDS } from "./commands.ts";
export { persistFlagOf } from "./content.ts";
export { execute, isPipelined } from "./engine.ts";
export { ImError } from "./error.ts";
export { createIm, type Im, type ImOptions, type LoginLimits } from "./im.ts";
export { endLogin, getMe, type Installation, loginByCode, makeLogin, type NewLogin } from "./login.ts";
export { sendLoginCode } from "./login_codes.ts";
export { messageJson } from "./message_json.ts";
export type {
  CloseNotice,
  EventNotice,
  MessageNotice,
  Notice,
  NoticeReceiver,
  StoredMessageView,
} from "./notice.ts";
export type { Origin } from "./origin.ts";
export type { Execution, Outcome } from "./outcome.ts";
export { parseRequest } from "./parse.ts";
export {
  cancelQrLogin,
  confirmQrLogin,
  createQrLogin,
  pollQrLogin,
  type QrLogin,
  type QrPoll,
  type ScannedQrLogin,
  scanQrLogin,
} from "./qr_login.ts";
export { idShape, requireShape } from "./shapes.ts";
export { authenticateConnect, authenticateToken, type Login } from "./tokens.ts";
export { createUser, issueToken, type UserRequest } from "./users.ts";
