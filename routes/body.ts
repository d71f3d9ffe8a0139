import type * as z from "zod";
import { ImError, parseRequest, requireShape } from "../im/mod.ts";
import type { RouteContext } from "./context.ts";

/**
 * The body of a request.
 *
 * @throws {ImError} `message/too-large`, from the length it announces or as soon as more has come; `request/invalid`
 * when the client left before the end
 */
export async function readBody(request: Request, maxBytes: number): Promise<Uint8Array> {
  const announced = request.headers.get("content-length");
  if (Number(announced) > maxBytes) throw tooLarge(maxBytes);
  if (request.body === null) return new Uint8Array();
  try {
    // What has announced its length sends no more than that.
    return announced === null ? await collect(request.body, maxBytes) : await request.bytes();
  } catch (cause) {
    if (cause instanceof ImError) throw cause;
    // Whatever the runtime calls it, the stream broke: the client has gone, and nobody reads the answer.
    throw new ImError("request/invalid", "The request did not arrive whole.");
  }
}

async function collect(stream: ReadableStream<Uint8Array>, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop cancels the rest.
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  const body = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
}

/**
 * The JSON object in a request's body, checked against its shape. For clients of the interfaces this server takes
 * over, an empty body is an empty object, and a field that is null is one left out.
 *
 * @throws {ImError} `message/too-large`, `request/invalid`
 */
export async function readRequest<S extends z.ZodType>(
  c: RouteContext,
  shape: S,
  maxBytes: number,
): Promise<z.output<S>> {
  const body = await readBody(c.req.raw, maxBytes);
  const request = body.length === 0 ? {} : parseRequest(body);
  return requireShape(
    shape,
    Object.fromEntries(Object.entries(request).filter(([, value]) => value !== null)),
  );
}

function tooLarge(maxBytes: number): ImError {
  return new ImError("message/too-large", `A request may have at most ${maxBytes} bytes here.`);
}
