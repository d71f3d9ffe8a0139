/** What `deno task simulate-phone` says, in English and Chinese. */

/** One language. */
export interface PhoneTexts {
  readonly help: string;
  readonly locale: string;
  readonly needsQr: string;
  readonly needsMobile: string;
  readonly needsCode: string;
  readonly needsNumber: string;
  readonly numberShape: string;
  readonly needsValue: (option: string) => string;
  readonly unknownWord: (word: string) => string;
  readonly noQr: (given: string) => string;
  readonly noServer: (given: string) => string;
  readonly unreachable: (origin: string) => string;
  readonly askCode: string;
  readonly askNumber: string;
  readonly loggedIn: (mobile: string, userId: string, isNew: boolean) => string;
  readonly wantsIn: string;
  readonly device: string;
  readonly browser: string;
  readonly address: string;
  readonly place: string;
  readonly asked: string;
  readonly unknown: string;
  readonly places: Readonly<Record<"this-machine" | "local-network" | "", string>>;
  readonly confirmed: string;
  readonly cancelled: string;
  readonly tryAgainIn: (seconds: number) => string;
  /** By the code of the envelope, while logging in. */
  readonly loginRefusals: Readonly<Record<number, string>>;
  /** By the code of the envelope, while scanning, confirming and cancelling. */
  readonly qrRefusals: Readonly<Record<number, string>>;
}

const en: PhoneTexts = {
  help: `deno task simulate-phone <url|token> --mobile NUMBER [options]

Does what a person with a phone does when a page shows a QR code: logs in by SMS code, scans, looks at who wants in,
types the number that the page shows, confirms.

  <url|token>        what the QR holds, as in http://127.0.0.1:8000/m/scan?token=…, or the token alone
  --mobile NUMBER    the phone's number, as in 13800000000; its first login makes the user
  --number NN        the two digits on the page; asked for when left out
  --code NNNNNN      a login code that was sent already; a development server on this machine tells it by itself
  --server URL       the server; else the one in the url, or http://127.0.0.1:8000
  --cancel           refuse the page instead of confirming
  --lang en|zh       the language; else from LANG

Exit code 0 done, 1 refused by the server, 2 something is missing or wrong here, 3 the server cannot be reached.`,
  locale: "en-GB",
  needsQr: "Say which QR code to scan: its url, or its token. --help shows how.",
  needsMobile: "Say whose phone this is, as in --mobile 13800000000.",
  needsCode:
    "The server sent a login code by SMS: run this on a terminal and type it, or give it with --code.",
  needsNumber:
    "The page shows two digits: run this on a terminal and type them, or give them with --number. " +
    "Nothing was confirmed; the page was told so.",
  numberShape: "--number takes the two digits that the page shows, as in --number 42.",
  needsValue: (option) => `--${option} needs a value.`,
  unknownWord: (word) => `${word} means nothing here; --help shows what there is.`,
  noQr: (given) => `${given} is no QR of Hearth: it has no token, as in http://127.0.0.1:8000/m/scan?token=…`,
  noServer: (given) => `${given} is no address of a server, as in http://127.0.0.1:8000.`,
  unreachable: (origin) => `There is no server at ${origin}. Is it running?`,
  askCode: "Login code from the SMS:",
  askNumber: "Continue only if you started this yourself. Number on the page:",
  loggedIn: (mobile, userId, isNew) =>
    `The phone ${mobile} is logged in as ${userId}${isNew ? ", a new user" : ""}.`,
  wantsIn: "A page wants to log in as you:",
  device: "Device ",
  browser: "Browser",
  address: "Address",
  place: "Place  ",
  asked: "Asked  ",
  unknown: "unknown",
  places: { "this-machine": "this machine", "local-network": "local network", "": "" },
  confirmed: "Confirmed: the page is logged in.",
  cancelled: "Cancelled: the page was told so.",
  tryAgainIn: (seconds) => `Try again in ${seconds} s.`,
  loginRefusals: {
    1: "That is no mobile number.",
    3: "Too many login codes were asked for.",
    5: "The login code is too old or was used already.",
    6: "The login code is wrong.",
    11: "This server does not send login codes: SMS_PROVIDER is not set.",
    21: "This user is blocked.",
  },
  qrRefusals: {
    6: "That is not the number on the page.",
    8: "This QR code is no longer valid. Show a new one.",
    10: "This QR code has not been scanned.",
    13: "The phone is no longer logged in.",
    14: "Another phone has scanned this QR code already.",
    18: "This login was cancelled. Show a new QR code.",
  },
};

const zh: PhoneTexts = {
  help: `deno task simulate-phone <链接|token> --mobile 手机号 [选项]

模拟一个人用手机扫码登录：用短信验证码登录手机、扫码、查看谁要登录、输入网页上的数字、确认。

  <链接|token>       二维码的内容，例如 http://127.0.0.1:8000/m/scan?token=…，或只写其中的 token
  --mobile 手机号    例如 13800000000；首次登录会创建用户
  --number NN        网页上显示的两位数字；不写则会询问
  --code NNNNNN      已经收到的登录验证码；本机的开发服务器会自动给出
  --server 地址      服务器地址；默认取自链接，否则为 http://127.0.0.1:8000
  --cancel           拒绝登录，而不是确认
  --lang zh|en       语言；默认取自 LANG

退出码：0 完成，1 被服务器拒绝，2 参数缺少或有误，3 无法连接服务器。`,
  locale: "zh-CN",
  needsQr: "请写明要扫的二维码：链接或 token。用 --help 查看用法。",
  needsMobile: "请写明手机号，例如 --mobile 13800000000。",
  needsCode: "服务器已用短信发送验证码：请在终端中运行并输入，或用 --code 给出。",
  needsNumber:
    "网页上有两位数字：请在终端中运行并输入，或用 --number 给出。没有确认任何登录，网页已收到取消通知。",
  numberShape: "--number 是网页上显示的两位数字，例如 --number 42。",
  needsValue: (option) => `--${option} 需要一个值。`,
  unknownWord: (word) => `无法理解 ${word}；用 --help 查看用法。`,
  noQr: (given) => `${given} 不是 Hearth 的二维码：其中没有 token，例如 http://127.0.0.1:8000/m/scan?token=…`,
  noServer: (given) => `${given} 不是服务器地址，例如 http://127.0.0.1:8000。`,
  unreachable: (origin) => `${origin} 没有服务器响应，它启动了吗？`,
  askCode: "短信中的登录验证码：",
  askNumber: "仅当这是你本人发起的登录时才继续。网页上的数字：",
  loggedIn: (mobile, userId, isNew) => `手机 ${mobile} 已登录，用户 ${userId}${isNew ? "（新用户）" : ""}。`,
  wantsIn: "有网页要以你的身份登录：",
  device: "设备  ",
  browser: "浏览器",
  address: "地址  ",
  place: "位置  ",
  asked: "时间  ",
  unknown: "未知",
  places: { "this-machine": "本机", "local-network": "局域网", "": "" },
  confirmed: "已确认：网页已登录。",
  cancelled: "已取消：网页已收到通知。",
  tryAgainIn: (seconds) => `请在 ${seconds} 秒后重试。`,
  loginRefusals: {
    1: "手机号不正确。",
    3: "请求验证码过于频繁。",
    5: "验证码已过期或已使用。",
    6: "验证码错误。",
    11: "此服务器不发送登录验证码：没有设置 SMS_PROVIDER。",
    21: "该用户已被封禁。",
  },
  qrRefusals: {
    6: "数字与网页上的不一致。",
    8: "二维码已失效，请重新显示。",
    10: "二维码还没有被扫描。",
    13: "手机的登录已失效。",
    14: "二维码已被另一部手机扫描。",
    18: "此次登录已取消，请重新显示二维码。",
  },
};

/** By language. */
export const PHONE_TEXTS: Readonly<Record<"en" | "zh", PhoneTexts>> = { en, zh };
