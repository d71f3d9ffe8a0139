/** `/openapi.json`, and the same for people at `/docs`: a page without a script, made on the server. */

import { Hono } from "hono";
import { html } from "hono/html";
import { APP_ERRORS, ERRORS } from "../wire.ts";
import type { RouteEnv, RouteOptions } from "./context.ts";
import { type ApiDocument, describeOther, makeApiDocument } from "./openapi.ts";

type Html = ReturnType<typeof html>;
type Operation = NonNullable<NonNullable<ApiDocument["paths"][string]>["post"]>;

/** What the page shows of a JSON Schema. */
interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}

/** What the page shows of a security scheme. */
interface SecurityScheme {
  readonly description?: string;
}

/** A field as a row of a table; `name` is a dotted path. */
interface Field {
  readonly name: string;
  readonly type: string;
  readonly isRequired: boolean;
  readonly description: string;
}

/** `/openapi.json` and `/docs`; `app` is asked for its routes at the first request. */
export function docsRoutes(app: Hono<RouteEnv>, { version }: RouteOptions): Hono<RouteEnv> {
  const docs = new Hono<RouteEnv>();
  let made: Promise<ApiDocument> | null = null;
  const getDocument = () => made ??= makeApiDocument(app, version);

  docs.get(
    "/openapi.json",
    describeOther({ tag: "pages", summary: "This document", answers: { 200: "OpenAPI 3.1" } }),
    async (c) => c.json(await getDocument()),
  );
  docs.get("/docs/style.css", async (c) => {
    const style = await Deno.readTextFile(new URL("docs.css", import.meta.url));
    return c.body(style, 200, { "content-type": "text/css; charset=utf-8" });
  });
  docs.get(
    "/docs",
    describeOther({ tag: "pages", summary: "The same for people", answers: { 200: "HTML" } }),
    async (c) => {
      c.header("content-security-policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'");
      return c.html(showDocument(await getDocument()));
    },
  );
  return docs;
}

function showDocument({ info, tags = [], paths, components }: ApiDocument): Html {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods ?? {}).map(([method, operation]) => ({
      path,
      method: method.toUpperCase(),
      operation: operation as Operation,
    }))
  );
  const groups = tags.map((tag) => {
    const members = operations.filter(({ operation }) => operation.tags?.includes(tag.name));
    return html`
      <h2>${tag.name}</h2>
      <p>${tag.description}</p>
      ${members.map(({ path, method, operation }) => showOperation(path, method, operation))}
    `;
  });
  const schemes = Object.entries((components?.securitySchemes ?? {}) as Record<string, SecurityScheme>)
    .map(([name, scheme]) => [name, scheme.description ?? ""]);
  const shared = Object.entries((components?.schemas ?? {}) as Record<string, Schema>);
  return html`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>${info.title} API</title>
        <link rel="stylesheet" href="/docs/style.css">
      </head>
      <body>
        <h1>${info.title} API ${info.version}</h1>
        <p>${info.description} For tools: <a href="/openapi.json">openapi.json</a>.</p>
        ${showTable("Proofs of who asks", ["name", "meaning"], schemes)} ${groups}
        <h2>errors</h2>
        ${shared.map(([name, schema]) => showFields(name, schema))}
        ${showErrors("Commands and the server API", ERRORS)} ${showErrors("Login paths", APP_ERRORS)}
      </body>
    </html>
  `;
}

function showOperation(path: string, method: string, operation: Operation): Html {
  const { summary, description, requestBody, responses = {}, security } = operation;
  const request = contentOf(requestBody);
  return html`
    <details>
      <summary><span class="method">${method}</span> <code>${path}</code> <span>${summary}</span></summary>
      ${description === undefined || description === "" ? "" : html`<p>${description}</p>`}
      ${security === undefined ? "" : html`<p>Needs ${security.flatMap(Object.keys).join(" or ")}.</p>`}
      ${request === null ? "" : showFields("Request", request)}
      ${Object.entries(responses).map(([status, answer]) => {
        const heading = `${status} ${"description" in answer ? answer.description : ""}`;
        const schema = contentOf(answer);
        if (schema === null) return html`<p>${heading}</p>`;
        if (schema.$ref !== undefined) return html`<p>${heading}: ${typeOf(schema)}</p>`;
        return showFields(heading, schema);
      })}
    </details>
  `;
}

function contentOf(part: unknown): Schema | null {
  const { content } = (part ?? {}) as { content?: Record<string, { schema?: Schema }> };
  return content?.["application/json"]?.schema ?? null;
}

function showFields(caption: string, schema: Schema): Html {
  return showTable(
    caption,
    ["field", "type", "required", "meaning"],
    listFields(schema, "").map(({ name, type, isRequired, description }) => [
      name,
      type,
      isRequired ? "yes" : "",
      description,
    ]),
  );
}

function showErrors(caption: string, errors: Readonly<Record<string, { code: number; http: number }>>): Html {
  const rows = Object.entries(errors).map(([name, { code, http }]) => [String(code), name, String(http)]);
  return showTable(caption, ["code", "error", "HTTP"], rows);
}

function showTable(caption: string, heads: readonly string[], rows: readonly (readonly string[])[]): Html {
  return html`
    <div class="scroll">
      <table>
        <caption>${caption}</caption>
        <thead>
          <tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr>
        </thead>
        <tbody>${rows.map((cells) => html`<tr>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody>
      </table>
    </div>
  `;
}

/** The fields of an object, those of objects within it below it. */
function listFields(schema: Schema, prefix: string): readonly Field[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, field]) => {
    const name = prefix + key;
    const fallback = field.default === undefined ? "" : `Default ${JSON.stringify(field.default)}.`;
    const description = [field.description, fallback].filter((text) => text).join(". ");
    const isRequired = schema.required?.includes(key) ?? false;
    const inner = field.items ?? field;
    const below = listFields(inner, field.items === undefined ? `${name}.` : `${name}[].`);
    return [{ name, type: typeOf(field), isRequired, description }, ...below];
  });
}

function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) return schema.$ref.split("/").at(-1)!;
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) {
    return schema.enum.length > 8 ? "string" : schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  }
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(" | ");
  return schema.items === undefined ? schema.type ?? "any" : `${typeOf(schema.items)}[]`;
}
