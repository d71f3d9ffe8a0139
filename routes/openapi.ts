/**
 * The OpenAPI 3.1 document, made from the shapes that check the requests: every route is described where it is
 * registered, in the words of the door it belongs to.
 */

import type { Hono, MiddlewareHandler } from "hono";
import { describeRoute, type DescribeRouteOptions, generateSpecs, resolver } from "hono-openapi";
import * as z from "zod";
import type { Command } from "../im/mod.ts";
import { APP_ERRORS, type AppErrorName, type ErrorName, ERRORS } from "../wire.ts";
import type { RouteEnv } from "./context.ts";

/** An OpenAPI document. */
export type ApiDocument = Awaited<ReturnType<typeof generateSpecs>>;

/** Groups of paths, in the order they are shown. */
const TAGS = [
  {
    name: "login",
    description:
      "Accounts and QR login. HTTP 200 with {code, message, result}; 413 and 429 for limits, 403 for a cookie that another web page sends.",
  },
  {
    name: "commands",
    description:
      "What a client asks for, here and as MQTT topic im/<command>. The HTTP status tells how it went.",
  },
  {
    name: "server",
    description: "For a back end that knows the secret. Always HTTP 200 with {code, msg, result}.",
  },
  { name: "connection", description: "Where and how a client connects." },
  { name: "operations", description: "For whoever runs the server." },
  { name: "pages", description: "For people." },
] as const;

const SECURITY_SCHEMES = {
  appToken: { type: "apiKey", in: "header", name: "authToken", description: "The app token of a login" },
  imToken: { type: "http", scheme: "bearer", description: "The IM token of a login" },
  session: { type: "apiKey", in: "cookie", name: "hearth_session", description: "For pages of this server" },
  signature: {
    type: "apiKey",
    in: "header",
    name: "sign",
    description: "sha1hex(nonce|secret|timestamp), with the headers nonce and timestamp (ms)",
  },
} as const;

const WITH_LOGIN = [{ appToken: [] }, { imToken: [] }, { session: [] }];

const refusalShape = z.object({
  code: z.int(),
  error: z.enum(Object.keys(ERRORS) as [ErrorName, ...ErrorName[]]),
  message: z.string(),
  field: z.string().optional().meta({ description: "The request field that was wrong" }),
  retryAfterMs: z.int().optional(),
  requestId: z.string().optional(),
}).meta({ id: "Refusal" });

const requestIdShape = z.object({
  requestId: z.string().optional().meta({ description: "1–64 printable characters; comes back" }),
});

const onceRequestIdShape = z.object({
  requestId: z.string().optional().meta({
    description: "1–64 printable characters; comes back. A repeat within 24 hours answers the first result",
  }),
});

/** Describes a path taken over from the app server. */
export function describeAppServer(about: {
  readonly summary: string;
  readonly description?: string;
  readonly request?: z.ZodType;
  readonly result?: z.ZodType;
  readonly errors?: readonly AppErrorName[];
  readonly needsLogin?: boolean;
}): MiddlewareHandler {
  const errors: AppErrorName[] = [
    ...(about.errors ?? []),
    ...(about.needsLogin === true ? ["login/required" as const] : []),
    ...(about.request === undefined ? [] : ["request/invalid" as const]),
  ];
  const codes = errors.toSorted((a, b) => APP_ERRORS[a].code - APP_ERRORS[b].code)
    .map((error) => `${APP_ERRORS[error].code} ${error}`).join(", ");
  return describeRoute({
    tags: ["login"],
    summary: about.summary,
    description: [about.description, codes && `Refusals: ${codes}.`].filter((text) => text).join(" "),
    ...(about.needsLogin === true ? { security: WITH_LOGIN } : {}),
    ...bodyOf(about.request),
    responses: {
      200: json("The result, or a refusal by its code", envelopeOf("message", about.result)),
    },
  });
}

/** Describes a command at its path. */
export function describeCommand(name: string, { summary, request, once }: Command): MiddlewareHandler {
  const result = z.object({ code: z.literal(0), result: z.record(z.string(), z.unknown()) });
  return describeRoute({
    operationId: name,
    tags: ["commands"],
    summary,
    security: WITH_LOGIN,
    ...bodyOf(
      request instanceof z.ZodObject
        ? request.extend((once ? onceRequestIdShape : requestIdShape).shape)
        : request,
    ),
    responses: {
      200: json("Done", result.extend(requestIdShape.shape)),
      default: json("Refused; the status is that of the error", refusalShape),
    },
  });
}

/** Describes a path of the server API. */
export function describeServerApi(about: {
  readonly summary: string;
  readonly request: z.ZodType;
  readonly result: z.ZodType;
  readonly errors: readonly ErrorName[];
}): MiddlewareHandler {
  const codes = about.errors.map((error) => `${ERRORS[error].code} ${error}`).join(", ");
  return describeRoute({
    tags: ["server"],
    summary: about.summary,
    description: `Refusals: ${codes}; 239, 243 and 244 for the signature.`,
    security: [{ signature: [] }],
    ...bodyOf(about.request),
    responses: { 200: json("The result, or a refusal by its code", envelopeOf("msg", about.result)) },
  });
}

/** Describes any other path. */
export function describeOther(about: {
  readonly tag: "connection" | "operations" | "pages";
  readonly summary: string;
  /** Status → what it means, with the shape of the JSON where there is one. */
  readonly answers: Readonly<Record<number, string | readonly [string, z.ZodType]>>;
  readonly needsLogin?: boolean;
}): MiddlewareHandler {
  const responses = Object.entries(about.answers).map(([status, answer]) => [
    status,
    typeof answer === "string" ? { description: answer } : json(answer[0], answer[1]),
  ]);
  return describeRoute({
    tags: [about.tag],
    summary: about.summary,
    ...(about.needsLogin === true ? { security: WITH_LOGIN } : {}),
    responses: Object.fromEntries(responses),
  });
}

/** The document of all routes that are described. */
export function makeApiDocument(app: Hono<RouteEnv>, version: string): Promise<ApiDocument> {
  const documentation = {
    info: { title: "Hearth", version, description: "An instant-messaging server." },
    tags: [...TAGS],
    components: { securitySchemes: SECURITY_SCHEMES },
    "x-errors": { commands: ERRORS, login: APP_ERRORS },
  };
  // A command has a dot in its name and is no file.
  return generateSpecs(app, { documentation, excludeStaticFile: false });
}

function bodyOf(shape: z.ZodType | undefined): Pick<DescribeRouteOptions, "requestBody"> {
  if (shape === undefined) return {};
  return { requestBody: { required: true, content: { "application/json": { schema: resolver(shape) } } } };
}

function json(description: string, shape: z.ZodType) {
  return { description, content: { "application/json": { schema: resolver(shape) } } };
}

function envelopeOf(messageField: "message" | "msg", result: z.ZodType | undefined): z.ZodType {
  return z.object({
    code: z.int(),
    [messageField]: z.string(),
    ...(result === undefined ? {} : { result: result.optional() }),
    ...(messageField === "message" ? { retryAfterMs: z.int().optional() } : {}),
  });
}
