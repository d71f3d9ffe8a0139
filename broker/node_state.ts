import type { Log } from "../log.ts";
import type { MqttState } from "../store/mod.ts";
import type { BrokerStats } from "./broker_stats.ts";
import { Journal } from "./journal.ts";
import type { BrokerLimits } from "./limits.ts";
import { OpenTopics } from "./open_topics.ts";
import { RetainedMessages } from "./retained.ts";
import { Router } from "./router.ts";
import type { SessionRules } from "./session.ts";
import { Sessions } from "./sessions.ts";
import { TopicAccess } from "./topic_access.ts";

/** What the state of a node is made of. */
export interface NodeStateOptions {
  readonly state: MqttState;
  readonly log: Log;
  readonly limits: BrokerLimits;
  /** Topic filters that every connected client may publish and subscribe to. */
  readonly openTopics: readonly string[];
}

/** The figures of {@linkcode BrokerStats} that are of the state. */
type StateStats = Pick<
  BrokerStats,
  | "sessions"
  | "persistentSessions"
  | "subscriptions"
  | "published"
  | "delivered"
  | "dropped"
  | "retained"
  | "retainedBytes"
>;

/** The MQTT state of this node: sessions, subscriptions, retained messages, and the journal that stores them. */
export class NodeState {
  readonly journal: Journal;
  readonly router: Router;
  readonly sessions: Sessions;
  /** Whether there are topics for clients among themselves. */
  readonly hasOpenTopics: boolean;
  readonly #retained: RetainedMessages;
  readonly #logins: SessionRules;
  readonly #guests: SessionRules;
  readonly #counts = { dropped: 0 };

  private constructor({ state, log, limits, openTopics }: NodeStateOptions) {
    const open = new OpenTopics(openTopics);
    const rules = (isAnonymous: boolean): SessionRules => ({
      limits,
      access: new TopicAccess(open, limits, isAnonymous),
      counts: this.#counts,
    });
    this.#logins = rules(false);
    this.#guests = rules(true);
    this.hasOpenTopics = !open.isEmpty;
    this.journal = new Journal((units) => state.write(units), log);
    this.#retained = new RetainedMessages(limits, open);
    this.router = new Router(this.#retained, this.journal);
    this.sessions = new Sessions({
      limits,
      log,
      state,
      router: this.router,
      journal: this.journal,
      rulesFor: (userId) => userId === "" ? this.#guests : this.#logins,
    });
  }

  /** The state as it was stored. */
  static async load(options: NodeStateOptions): Promise<NodeState> {
    const node = new NodeState(options);
    const { sessions, retained } = await options.state.load();
    // First, because a session may have ended meanwhile and its will may be retained.
    for (const publication of retained) node.#retained.set(publication);
    node.sessions.restore(sessions, Date.now());
    return node;
  }

  /** Which topics a client may use. */
  accessFor(isAnonymous: boolean): TopicAccess {
    return (isAnonymous ? this.#guests : this.#logins).access;
  }

  /** Time goes by: sends wills that are due, ends sessions, takes away what has expired. */
  sweep(nowMs: number): void {
    this.sessions.sweep(nowMs);
    this.router.expire(nowMs);
  }

  /** Figures of now, and counters since the start. */
  stats(): StateStats {
    return {
      sessions: this.sessions.size,
      persistentSessions: this.sessions.persistent,
      subscriptions: this.router.subscriptions,
      published: this.router.published,
      delivered: this.router.delivered,
      dropped: this.#counts.dropped,
      retained: this.#retained.count,
      retainedBytes: this.#retained.bytes,
    };
  }
}
