/** The commit pipeline driven directly, without a server in between. */
import { createLog } from "../../log.ts";
import { CommitPipeline, type Send, type SendOutcome } from "../../store/mod.ts";
import { PipelineConnection } from "../../store/pipeline_connection.ts";
import { BenchError } from "./bench.ts";

const log = createLog({ format: "text", level: "warn" });
const ORDER = { generation: 0 };

/** A pipeline with a connection of its own; `lease` gives the node number. */
export function openPipeline(
  databaseUrl: string,
  lease: { readonly node: number; canSend(): boolean },
): CommitPipeline {
  return new CommitPipeline({ connection: new PipelineConnection(databaseUrl, log), lease, log });
}

/** A text of `bodyBytes` as the content of a message. */
export function contentOf(bodyBytes: number): string {
  return JSON.stringify({ type: 1, searchableContent: "x".repeat(bodyBytes), persistFlag: 3 });
}

/** Stores one message from one user to another and waits for its commit. */
export async function storeMessage(
  pipeline: CommitPipeline,
  message: {
    readonly from: string;
    readonly to: string;
    readonly clientMessageId: string;
    readonly contentJson: string;
  },
): Promise<void> {
  const { from, to } = message;
  const send: Send = {
    from,
    clientMessageId: message.clientMessageId,
    conversationType: 0,
    canonicalTarget: from < to ? `${from}|${to}` : `${to}|${from}`,
    line: 0,
    contentType: 1,
    contentJson: message.contentJson,
    expireSeconds: 0,
    recipients: null,
    receivers: [
      { userId: from, target: to, counted: false, mention: 0 },
      { userId: to, target: from, counted: true, mention: 0 },
    ],
  };
  requireStored(await pipeline.submit(send, { order: ORDER, whenFull: "wait" }).outcome);
}

function requireStored(outcome: SendOutcome): void {
  if (outcome.status === "stored") return;
  const reason = outcome.status === "refused" ? `, ${outcome.reason}` : "";
  throw new BenchError(`A message was not stored: ${outcome.status}${reason}.`);
}
