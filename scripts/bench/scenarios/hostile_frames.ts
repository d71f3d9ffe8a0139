import { createLogin } from "../../../tests/admin.ts";
import { type Bench, BenchError, type Scenario } from "../bench.ts";
import { reach } from "../clock.ts";
import { readMemoryKib } from "../cpu_time.ts";
import { Histogram } from "../histogram.ts";
import type { HostileFrames } from "../hostile_sender.ts";
import { MqttLoadClient } from "../mqtt_load_client.ts";
import { describeTimes, type Figure, formatNumber } from "../report.ts";
import { type Door, DOOR_NAMES, openDoors, type ServerDoors } from "../server_doors.ts";

const FRAME_MIB = 60;
const MIB = 2 ** 20;
/** The largest message that the runtime's WebSockets take in. */
const NATIVE_FRAME_MIB = 64;
const ATTACKS: readonly { readonly door: Door; readonly connections: number; readonly atMostMib: number }[] =
  [
    { door: "ws", connections: 200, atMostMib: 100 },
    { door: "native", connections: 10, atMostMib: 10 * NATIVE_FRAME_MIB },
  ];
const PING_PAUSE_MS = 5;
const QUIET_MS = 1_000;

/** WebSocket frames much larger than any packet, from peers that never said who they are, while others are served. */
export const hostileFrames: Scenario = {
  name: "hostile-frames",
  about: `growth of memory under frames of ${FRAME_MIB} MiB without a CONNECT, 200 and 10 at once (Linux)`,
  async run(bench: Bench) {
    for (const { door, connections, atMostMib } of ATTACKS) {
      // A server each: memory that was grown once may not grow again.
      await using doors = await openDoors(bench);
      bench.report(await attack(doors, door, connections, atMostMib));
    }
  },
};

async function attack(
  doors: ServerDoors,
  door: Door,
  connections: number,
  atMostMib: number,
): Promise<Figure> {
  const { server, urls } = doors;
  const userId = "bystander";
  const password = await createLogin(server, userId);
  await using bystander = await Bystander.connect(urls[door], userId, password);
  const quiet = await bystander.pingUntil(new Promise((resume) => setTimeout(resume, QUIET_MS)));
  const memory = new PeakMemory(server.pid);
  const sending = sendFrames({ url: urls[door], connections, frameBytes: FRAME_MIB * MIB });
  const busy = await bystander.pingUntil(sending, () => memory.read());
  const left = await sending;
  const whole = left.filter((bytes) => bytes >= FRAME_MIB * MIB).length;
  return {
    scenario: "hostile-frames",
    what: `growth of resident memory, ${connections} frames of ${FRAME_MIB} MiB at once, ${DOOR_NAMES[door]}`,
    value: memory.growthMib,
    unit: "MiB",
    target: { atMost: atMostMib },
    notes: [
      `${formatNumber(memory.beforeMib)} MiB before`,
      `${whole} frames left whole, ${
        formatNumber(left.reduce((sum, bytes) => sum + bytes, 0) / MIB)
      } MiB in all`,
      `${busy.count} pings of another client meanwhile`,
      describeTimes("answered after", busy.percentiles()),
      describeTimes("before", quiet.percentiles()),
    ],
  };
}

/** From a thread of its own: who is measured beside it is not held up by so many writes. */
async function sendFrames(frames: HostileFrames): Promise<readonly number[]> {
  const worker = new Worker(new URL("../hostile_sender.ts", import.meta.url), { type: "module" });
  try {
    return await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<readonly number[]>) => resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new BenchError(`The frames could not be sent: ${event.message}.`));
      };
      worker.postMessage(frames);
    });
  } finally {
    worker.terminate();
  }
}

/** A client that is logged in and wants to be served. */
class Bystander implements AsyncDisposable {
  readonly #client: MqttLoadClient;

  private constructor(client: MqttLoadClient) {
    this.#client = client;
  }

  static async connect(url: string, userName: string, password: string): Promise<Bystander> {
    const unexpected = (what: string) => () => {
      throw new BenchError(`The client that is being served ${what}.`);
    };
    return new Bystander(
      await MqttLoadClient.connect({
        url,
        connect: { clientId: `client-${userName}`, userName, password },
        observer: {
          message: unexpected("was sent a message"),
          completed: unexpected("was sent an acknowledgement"),
          lost: unexpected("lost its connection"),
        },
        readBytes: 512,
      }),
    );
  }

  /** Pings until `end` is settled; the round trips. */
  async pingUntil(end: Promise<unknown>, each: () => void = () => {}): Promise<Histogram> {
    const roundTrips = new Histogram();
    let isOver = false;
    const over = () => isOver = true;
    end.then(over, over);
    while (!isOver) {
      const before = performance.now();
      await this.#client.ping();
      roundTrips.record(performance.now() - before);
      each();
      await reach(performance.now() + PING_PAUSE_MS);
    }
    return roundTrips;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }
}

/** The most resident memory of a process since this was made. */
class PeakMemory {
  readonly #pid: number;
  readonly #beforeKib: number;
  readonly #formerPeakKib: number;
  #mostKib: number;

  constructor(pid: number) {
    this.#pid = pid;
    this.#beforeKib = this.#mostKib = this.#line("VmRSS");
    this.#formerPeakKib = this.#line("VmHWM");
  }

  get beforeMib(): number {
    return this.#beforeKib / 1_024;
  }

  get growthMib(): number {
    // The kernel's own mark misses nothing, where it was moved at all.
    const peakKib = this.#line("VmHWM");
    const mostKib = peakKib > this.#formerPeakKib ? peakKib : this.#mostKib;
    return (mostKib - this.#beforeKib) / 1_024;
  }

  read(): void {
    this.#mostKib = Math.max(this.#mostKib, this.#line("VmRSS"));
  }

  #line(name: string): number {
    const kib = readMemoryKib(this.#pid, name);
    if (kib === null) throw new BenchError("The server's memory cannot be read: this scenario needs Linux.");
    return kib;
  }
}
