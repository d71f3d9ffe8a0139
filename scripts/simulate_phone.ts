/**
 * `deno task simulate-phone <url|token>`: what a person with a phone does when a page shows a QR code. It logs in
 * by SMS code, scans, shows what the phone shows, asks for the number on the page, and confirms.
 */
import { languageOf, processEnv } from "../config.ts";
import { HttpClient, LoginError, type ScannedSession } from "../sdk/mod.ts";
import { APP_ERRORS } from "../wire.ts";
import { PHONE_TEXTS, type PhoneTexts } from "./simulate_phone_texts.ts";

/** What the exit code says. */
const EXIT = { done: 0, refused: 1, usage: 2, unreachable: 3 } as const;

const DEFAULT_SERVER = "http://127.0.0.1:8000";
/** An Android phone, in the numbers of the protocol. */
const PHONE_PLATFORM = 2;
/** The code of a refused number. */
const NUMBER_WRONG = APP_ERRORS["number/wrong"].code;

interface Options {
  readonly origin: string;
  readonly token: string;
  readonly mobile: string;
  readonly code: string | null;
  readonly number: string | null;
  readonly cancel: boolean;
}

/** Something is missing or wrong on this side. */
class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The server refused; the message says it in the words of somebody who holds a phone. */
class Refused extends Error {
  override readonly name = "Refused";
}

function readOptions(args: readonly string[], texts: PhoneTexts): Options {
  const values = new Map<string, string>();
  let subject: string | null = null;
  let cancel = false;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    const [, name, given] = /^--([a-z]+)(?:=(.*))?$/.exec(arg) ?? [];
    if (name === "cancel" && given === undefined) cancel = true;
    else if (name !== undefined && ["mobile", "number", "server", "code"].includes(name)) {
      const value = given ?? args[++i];
      if (value === undefined || value === "" || value.startsWith("--")) {
        throw new UsageError(texts.needsValue(name));
      }
      values.set(name, value);
    } else if (!arg.startsWith("-") && subject === null) subject = arg;
    else throw new UsageError(texts.unknownWord(arg));
  }
  if (subject === null) throw new UsageError(texts.needsQr);
  const mobile = values.get("mobile");
  if (mobile === undefined) throw new UsageError(texts.needsMobile);
  const { origin, token } = readQr(subject, values.get("server"), texts);
  const number = values.get("number") ?? null;
  if (number !== null && !/^\d{2}$/.test(number)) throw new UsageError(texts.numberShape);
  return { origin, token, mobile, code: values.get("code") ?? null, number, cancel };
}

/** The QR holds `<origin>/m/scan?token=…`; its last part alone will do. */
function readQr(
  subject: string,
  server: string | undefined,
  texts: PhoneTexts,
): { origin: string; token: string } {
  if (server !== undefined && !/^https?:\/\/[^/]/.test(server)) throw new UsageError(texts.noServer(server));
  if (!/^https?:/.test(subject)) return { origin: new URL(server ?? DEFAULT_SERVER).origin, token: subject };
  const token = URL.canParse(subject) ? new URL(subject).searchParams.get("token") : null;
  if (token === null) throw new UsageError(texts.noQr(subject));
  return { origin: new URL(server ?? subject).origin, token };
}

/** Asks on the terminal; `null` when nobody sits there. */
function ask(question: string): string | null {
  return Deno.stdin.isTerminal() ? prompt(question)?.trim() ?? "" : null;
}

async function logIn(phone: HttpClient, options: Options, texts: PhoneTexts): Promise<void> {
  const { mobile } = options;
  const code = options.code ?? (await phone.sendCode(mobile)).devCode ?? ask(texts.askCode);
  if (!code) throw new UsageError(texts.needsCode);
  const login = await phone.loginByCode({
    mobile,
    code,
    // The same installation every time, so that a person has one simulated phone and not many.
    clientId: `simulated-phone-${mobile.replaceAll(/[^0-9]/g, "")}`,
    platform: PHONE_PLATFORM,
    device_name: "Simulated phone",
  });
  console.log(texts.loggedIn(mobile, login.userId, login.register));
}

async function answerQr(phone: HttpClient, options: Options, texts: PhoneTexts): Promise<void> {
  const { token } = options;
  console.log(describe(await phone.scan(token), texts));
  if (options.cancel) {
    await phone.cancel(token);
    return console.log(texts.cancelled);
  }
  if (options.number !== null) await confirmOnce(phone, token, options.number, texts);
  else await confirmByHand(phone, token, texts);
  console.log(texts.confirmed);
}

/** Nobody is asked again: a wrong number ends it, since the next run is another login and may not go on. */
async function confirmOnce(
  phone: HttpClient,
  token: string,
  number: string,
  texts: PhoneTexts,
): Promise<void> {
  try {
    await phone.confirm(token, number);
  } catch (error) {
    if (!isWrongNumber(error)) throw error;
    await phone.cancel(token);
    throw new Refused(`${texts.qrRefusals[NUMBER_WRONG]} ${texts.cancelled}`, { cause: error });
  }
}

function isWrongNumber(error: unknown): boolean {
  return error instanceof LoginError && error.code === NUMBER_WRONG;
}

/** Asks until the number is right; the server cancels the login after three wrong ones. */
async function confirmByHand(phone: HttpClient, token: string, texts: PhoneTexts): Promise<void> {
  for (;;) {
    const number = ask(texts.askNumber);
    if (!number) {
      // Left open, the page would wait for a phone that has gone.
      await phone.cancel(token);
      throw new UsageError(texts.needsNumber);
    }
    try {
      return await phone.confirm(token, number);
    } catch (error) {
      if (!isWrongNumber(error)) throw error;
      console.error(texts.qrRefusals[NUMBER_WRONG]);
    }
  }
}

/** Puts a refusal into words; the server's own where there are none. */
async function explaining(
  refusals: Readonly<Record<number, string>>,
  texts: PhoneTexts,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof LoginError)) throw error;
    const { code, message, retryAfterMs } = error;
    const wait = retryAfterMs === undefined ? "" : ` ${texts.tryAgainIn(Math.ceil(retryAfterMs / 1_000))}`;
    throw new Refused((refusals[code] ?? message) + wait, { cause: error });
  }
}

/** What the phone shows before its user decides. */
function describe(scanned: ScannedSession, texts: PhoneTexts): string {
  const { device, browser, ip, place, createdAt } = scanned;
  const rows: readonly (readonly [string, string | undefined])[] = [
    [texts.device, device],
    [texts.browser, browser],
    [texts.address, ip],
    [texts.place, place === undefined ? undefined : texts.places[place]],
    [texts.asked, createdAt === undefined ? undefined : new Date(createdAt).toLocaleString(texts.locale)],
  ];
  return [texts.wantsIn, ...rows.map(([name, value]) => `  ${name} ${value || texts.unknown}`)].join("\n");
}

async function main(args: readonly string[]): Promise<number> {
  const at = args.findIndex((arg) => /^--lang(?:=|$)/.test(arg));
  const asked = at < 0 ? undefined : args[at]!.split("=")[1] ?? args[at + 1];
  const rest = at < 0 ? args : args.toSpliced(at, args[at]!.includes("=") ? 1 : 2);
  const texts = PHONE_TEXTS[languageOf(processEnv(), asked)];
  if (rest.includes("--help")) {
    console.log(texts.help);
    return EXIT.done;
  }
  let origin = "";
  try {
    const options = readOptions(rest, texts);
    origin = options.origin;
    const phone = new HttpClient({ origin });
    await explaining(texts.loginRefusals, texts, () => logIn(phone, options, texts));
    await explaining(texts.qrRefusals, texts, () => answerQr(phone, options, texts));
    return EXIT.done;
  } catch (error) {
    if (error instanceof TypeError) {
      console.error(`${texts.unreachable(origin)} (${error.message})`);
      return EXIT.unreachable;
    }
    if (!(error instanceof UsageError || error instanceof Refused)) throw error;
    console.error(error.message);
    return error instanceof UsageError ? EXIT.usage : EXIT.refused;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
