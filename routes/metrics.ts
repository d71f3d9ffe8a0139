import type { BrokerStats } from "../broker/mod.ts";
import type { CommitStats } from "../store/mod.ts";

/** What `/metrics` tells of. */
export interface Figures {
  readonly version: string;
  readonly isReady: boolean;
  readonly broker: BrokerStats;
  readonly commits: CommitStats;
  /** Status class, as in `2xx`, → answers. */
  readonly httpAnswers: readonly (readonly [string, number])[];
  readonly openPolls: number;
  readonly memory: Deno.MemoryUsage;
  /** Milliseconds since 1970. */
  readonly startedAtMs: number;
}

/** name, kind, meaning, value or values by label. */
type Metric = readonly [
  string,
  "gauge" | "counter",
  string,
  number | readonly (readonly [label: string, value: number])[],
];

/** The figures in the text format of Prometheus. Source: its exposition formats, version 0.0.4. */
export function writeMetrics(figures: Figures): string {
  return listMetrics(figures).map(([name, kind, help, value]) => {
    const samples = typeof value === "number" ? [["", value] as const] : value;
    const lines = samples.map(([label, number]) => `${name}${label} ${number}`);
    return `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n${lines.join("\n")}\n`;
  }).join("");
}

function listMetrics({ broker, commits, memory, ...other }: Figures): readonly Metric[] {
  const answers = other.httpAnswers.map(([status, count]) => [`{status="${status}"}`, count] as const);
  return [
    ["hearth_info", "gauge", "The running program", [[`{version="${other.version}"}`, 1]]],
    ["hearth_ready", "gauge", "Whether this node takes traffic", other.isReady ? 1 : 0],
    ["hearth_connections", "gauge", "Open MQTT connections with a good CONNECT", broker.connections],
    ["hearth_connections_unauthenticated", "gauge", "Open connections without one", broker.unauthenticated],
    ["hearth_users_connected", "gauge", "Users with a connection to this node", broker.users],
    ["hearth_connections_accepted_total", "counter", "Connections taken", broker.accepted],
    ["hearth_connects_failed_total", "counter", "CONNECTs refused", broker.failedConnects],
    ["hearth_connections_taken_over_total", "counter", "Closed for a newer one", broker.takenOver],
    ["hearth_connections_cut_off_total", "counter", "Closed because they did not read", broker.cutOff],
    ["hearth_protocol_errors_total", "counter", "Peers that broke MQTT", broker.protocolErrors],
    ["hearth_requests_total", "counter", "Commands through every door", broker.requests],
    ["hearth_refusals_total", "counter", "Commands refused", broker.refusals],
    ["hearth_events_total", "counter", "Events handed to connections", broker.events],
    ["hearth_mqtt_sessions", "gauge", "MQTT sessions, of connected and of absent clients", broker.sessions],
    [
      "hearth_mqtt_sessions_persistent",
      "gauge",
      "Those that outlive their connections",
      broker.persistentSessions,
    ],
    ["hearth_subscriptions", "gauge", "Subscriptions to open topics", broker.subscriptions],
    ["hearth_published_total", "counter", "Messages published to open topics", broker.published],
    ["hearth_delivered_total", "counter", "Messages of open topics handed to sessions", broker.delivered],
    [
      "hearth_dropped_total",
      "counter",
      "Messages of open topics dropped: too many or too old",
      broker.dropped,
    ],
    ["hearth_retained", "gauge", "Retained messages", broker.retained],
    ["hearth_retained_bytes", "gauge", "Bytes of retained messages", broker.retainedBytes],
    ["hearth_http_answers_total", "counter", "HTTP answers by class of status", answers],
    ["hearth_qr_polls_open", "gauge", "Pages that wait for a QR login", other.openPolls],
    ["hearth_commits_waiting", "gauge", "Messages that wait to be stored", commits.waiting],
    ["hearth_messages_stored_total", "counter", "Messages stored", commits.stored],
    ["hearth_messages_repeated_total", "counter", "Messages that had been stored before", commits.repeated],
    ["hearth_messages_not_stored_total", "counter", "Messages refused by the store", commits.refused],
    ["hearth_flushes_total", "counter", "Transactions of the commit pipeline", commits.flushes],
    ["hearth_flush_retries_total", "counter", "Flushes tried again", commits.retries],
    ["hearth_flush_seconds_total", "counter", "Time spent in flushes", commits.flushMs / 1_000],
    ["hearth_heap_bytes", "gauge", "JavaScript heap in use", memory.heapUsed],
    ["process_resident_memory_bytes", "gauge", "Resident memory", memory.rss],
    ["process_start_time_seconds", "gauge", "Start of the process", other.startedAtMs / 1_000],
  ];
}
