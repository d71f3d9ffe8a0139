/**
 * The command table: name → shape of the request, shape of the result, function. MQTT, HTTP and the OpenAPI
 * document all read it.
 */

import * as z from "zod";
import type { ClientRequest } from "../store/mod.ts";
import type { CommandName } from "../wire.ts";
import type { Caller } from "./caller.ts";
import { listConversationStates, listReceipts, readConversation } from "./conversations.ts";
import { contentShape } from "./content.ts";
import { kickDevice, listDevices, logoutDevice } from "./devices.ts";
import { type OnceOutcome, settleOnce } from "./once.ts";
import type { Execution, Outcome } from "./outcome.ts";
import type { Im } from "./im.ts";
import { pullMessages, readHistory, sync } from "./timeline.ts";
import { sendMessage } from "./send.ts";
import { conversationShape, idShape, int64Shape, printableIdShape, timeShape } from "./shapes.ts";
import { getUserInfos, searchUserInfos, updateMyProfile } from "./users.ts";

/** A row of the table. */
export interface Command {
  /** One sentence for the OpenAPI document. */
  readonly summary: string;
  readonly request: z.ZodType;
  /** Neighbours may be started without waiting for each other's outcome. */
  readonly pipelined: boolean;
  /** It creates or notifies: repeated under its `requestId` it answers the first result and tells nobody again. */
  readonly once: boolean;
  /**
   * Starts the command with a request that has passed its shape. `identity` is what a `once` command is known by when
   * it is repeated; null without `requestId` and for every other command.
   */
  start(im: Im, caller: Caller, request: unknown, identity: ClientRequest | null): Execution;
}

/** A command that answers when it is done, and does no harm when it is done again. */
function command<S extends z.ZodType>(
  summary: string,
  request: S,
  run: (im: Im, caller: Caller, request: z.output<S>) => Promise<Outcome>,
): Command {
  return {
    summary,
    request,
    pipelined: false,
    once: false,
    start: (im, caller, checked) => ({ entered: null, outcome: run(im, caller, checked as z.output<S>) }),
  };
}

/** A command that creates or notifies: `run` hands the identity to the store, which says whether it is a repeat. */
function onceCommand<S extends z.ZodType>(
  summary: string,
  request: S,
  run: (
    im: Im,
    caller: Caller,
    request: z.output<S>,
    identity: ClientRequest | null,
  ) => Promise<OnceOutcome>,
): Command {
  return {
    summary,
    request,
    pipelined: false,
    once: true,
    start: (im, caller, checked, identity) => ({
      entered: null,
      outcome: settleOnce(run(im, caller, checked as z.output<S>, identity)),
    }),
  };
}

const sendShape = z.object({
  clientMessageId: printableIdShape.optional().meta({
    description: "Required unless the message is transparent",
  }),
  conversation: conversationShape,
  content: contentShape,
  to: z.array(idShape).max(200).optional(),
});

/** Every command by name. */
export const COMMANDS: { readonly [name in CommandName]: Command } = {
  "sync": command(
    "Where my timelines stand: the first request after connecting.",
    z.object({ cursor: int64Shape.optional(), epoch: z.string().max(64).optional() }),
    sync,
  ),
  "message.send": {
    summary: "Send a message; the answer comes after it is stored.",
    request: sendShape,
    pipelined: true,
    once: false, // by its clientMessageId
    start: (im, caller, request) => sendMessage(im, caller, request as z.output<typeof sendShape>),
  },
  "message.pull": command(
    "Every entry of a timeline after a cursor, oldest first, a page at a time.",
    z.object({
      timeline: z.literal("me").default("me"),
      cursor: int64Shape,
      limit: z.int().min(1).max(500).default(500),
    }),
    pullMessages,
  ),
  "message.history": command(
    "Messages of one conversation, newest first.",
    z.object({
      conversation: conversationShape,
      before: int64Shape.optional(),
      after: int64Shape.optional(),
      count: z.int().min(1).max(100).default(20),
      contentTypes: z.array(z.int32()).max(50).optional(),
    }),
    readHistory,
  ),
  "conversation.list": command(
    "My conversations, newest first, with last message and unread.",
    z.object({
      updatedAfter: timeShape.optional(),
      limit: z.int().min(1).max(100).default(100),
      pageToken: int64Shape.optional(),
    }),
    listConversationStates,
  ),
  "conversation.read": command(
    "I have read a conversation up to a message; the mark never moves back.",
    z.object({ conversation: conversationShape, messageId: int64Shape }),
    readConversation,
  ),
  "conversation.receipts": command(
    "How far the others have read.",
    z.object({ conversation: conversationShape }),
    listReceipts,
  ),
  "user.get": command(
    "Profiles; code 0 given, 1 unknown, 2 unchanged since `updatedAt`.",
    z.object({
      users: z.array(z.object({ userId: idShape, updatedAt: timeShape.optional() })).max(500),
    }),
    getUserInfos,
  ),
  "user.update_me": onceCommand(
    "Change my profile: 0 display name, 1 portrait, 2 gender, 4 email, 5 address, 6 company, 7 social, 8 extra.",
    z.object({
      entries: z.array(z.object({
        type: z.union(
          [0, 1, 2, 4, 5, 6, 7, 8].map((type) => z.literal(type)) as [
            z.ZodLiteral<number>,
            z.ZodLiteral<number>,
          ],
          "one of 0, 1, 2, 4, 5, 6, 7, 8",
        ),
        value: z.string().max(4096),
      })).min(1).max(8),
    }),
    updateMyProfile,
  ),
  "user.search": command(
    "People by display name, account name, mobile number or id.",
    z.object({
      keyword: z.string().min(1).max(64),
      type: z.int().min(0).max(5).default(0),
      page: z.int().min(0).max(100).default(0),
    }),
    searchUserInfos,
  ),
  "session.devices": command("Where I am logged in.", z.object({}), listDevices),
  "session.kick": onceCommand("End one of my logins.", z.object({ clientId: idShape }), kickDevice),
  "session.logout": command("End this login.", z.object({}), logoutDevice),
};
