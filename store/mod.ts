/**
 * The only door into the store: Postgres is the truth, Deno KV holds what may expire.
 *
 * @module
 */

export { createStore, type Database, openDatabase, type Store } from "./store.ts";
export { type DatabaseSettings, openSql, type Sql, type SqlOptions } from "./sql.ts";
export { migrate, type MigrateOptions, type MigrateResult } from "./migrate.ts";
export { acquireNodeLease, type NodeLease, type NodeLeaseOptions } from "./node_lease.ts";
export { openSecrets, type Secrets } from "./secrets.ts";
export { StartError } from "./start_error.ts";
export {
  type CommitLimits,
  CommitPipeline,
  type CommitPipelineOptions,
  type CommitStats,
  type SendGeneration,
  type Submission,
  type SubmitOptions,
} from "./commit.ts";
export type { Send, SendOutcome, SendReceiver } from "./send.ts";
export { type Acquaintance, type Approach, listAcquaintances } from "./acquaintances.ts";
export { messageIdTimeMs, messageShard, randomId } from "./ids.ts";
export {
  getTimelineState,
  type HistoryRange,
  listHistory,
  type PageLimits,
  pullTimeline,
  type StoredMessage,
  type TimelineEntry,
  type TimelineState,
} from "./messages.ts";
export {
  areUsersKnown,
  type ConversationRef,
  type ConversationRow,
  getReadMark,
  listConversations,
  markRead,
  type ReadMark,
  type UnreadCount,
} from "./conversations.ts";
export {
  type CachedLogin,
  type CodeVerdict,
  type CountRule,
  Kv,
  type KvOptions,
  openKv,
  type PresenceEntry,
  type QrSession,
  sameBytes,
  type Versioned,
} from "./kv.ts";
export { type ClientRequest, RequestIdTakenError } from "./client_requests.ts";
export { Pruner, type PrunerOptions } from "./pruner.ts";
export { MqttState } from "./mqtt_state.ts";
export {
  type MqttOwner,
  type MqttSessionRecord,
  type MqttSubscriptionRecord,
  type MqttWrite,
  publicationBytes,
  type PublicationRecord,
  type QueuedOutline,
  type QueuedRecord,
  type StoredMqttSession,
} from "./mqtt_records.ts";
export type { LoginSession } from "./login_session.ts";
export {
  createLoginSession,
  type DeviceLogin,
  type EndedLogin,
  findLoginSession,
  type FoundLogin,
  kickLogin,
  listDeviceLogins,
  type NewLoginSession,
  type ReplacedLogins,
  revokeLoginSession,
  touchLoginSession,
} from "./login_sessions.ts";
export {
  getOrCreateUserByMobile,
  getUser,
  getUserByMobile,
  listUsers,
  type SavedUser,
  saveUser,
  searchUsers,
  updateUser,
  type User,
  type UserFields,
  type UserSearch,
} from "./users.ts";
export { type FolderLock, lockDataDir } from "./data_dir.ts";
export { type EmbeddedOptions, type EmbeddedPostgres, startEmbedded } from "./embedded.ts";
export { databaseSettings } from "./sql.ts";
