/** MQTT.js, unmodified, as a client whose messages tests take one after the other. */
import assert from "node:assert/strict";
import mqtt, { type IClientOptions, type IConnackPacket, type IPublishPacket, type MqttClient } from "mqtt";
import { createLogin } from "./admin.ts";
import { type Door, type Target, within } from "./mqtt_client.ts";
import type { TestServer } from "./server.ts";

/** A message that was heard. */
export class Publish {
  readonly topic: string;
  readonly packet: IPublishPacket;

  constructor(topic: string, packet: IPublishPacket) {
    this.topic = topic;
    this.packet = packet;
  }

  get text(): string {
    return String(this.packet.payload);
  }

  // deno-lint-ignore no-explicit-any
  get body(): any {
    return JSON.parse(this.text);
  }
}

/** A client of MQTT.js that hands out what it hears one after the other. */
export class JsClient implements AsyncDisposable {
  readonly mqtt: MqttClient;
  /** The answer to its last CONNECT. */
  connack: IConnackPacket;
  /** What it reported, in order. */
  readonly errors: Error[] = [];
  readonly #heard: Publish[] = [];
  #awaited: ((publish: Publish) => void) | null = null;
  /** The reason code of the server's DISCONNECT, when the connection has ended. */
  readonly #told = Promise.withResolvers<number | undefined>();

  private constructor(client: MqttClient, connack: IConnackPacket) {
    this.mqtt = client;
    this.connack = connack;
    client.on("connect", (again) => this.connack = again);
    client.on("error", (error) => this.errors.push(error));
    client.on("disconnect", ({ reasonCode }) => {
      client.once("close", () => this.#told.resolve(reasonCode));
    });
    client.on("message", (topic, _payload, packet) => {
      const publish = new Publish(topic, packet);
      if (this.#awaited === null) this.#heard.push(publish);
      else this.#awaited(publish);
      this.#awaited = null;
    });
  }

  /** Connects; rejects when the server refuses. */
  static async connect(
    server: Target,
    door: Door,
    options: IClientOptions,
  ): Promise<JsClient> {
    const url = door === "TCP" ? `mqtt://127.0.0.1:${server.tcpPort}` : server.wsUrl;
    const client = mqtt.connect(url, { reconnectPeriod: 0, ...options });
    const connected = Promise.withResolvers<JsClient>();
    // Within its event, or the messages in the same frame would be heard by nobody.
    client.once("connect", (connack) => connected.resolve(new JsClient(client, connack)));
    client.once("error", (error) => connected.reject(error));
    try {
      return await within("the CONNACK", connected.promise);
    } catch (error) {
      await client.endAsync(true);
      throw error;
    }
  }

  /** Logs a user in. */
  static async login(
    server: TestServer,
    door: Door,
    level: 4 | 5,
    userId: string,
    qos: 0 | 1 | 2 = 1,
  ): Promise<JsClient> {
    const clientId = `client-${userId}`;
    const password = await createLogin(server, userId, clientId);
    const client = await JsClient.connect(server, door, {
      protocolVersion: level,
      clientId,
      username: userId,
      password,
    });
    const [granted] = await client.mqtt.subscribeAsync("me/#", { qos });
    assert.equal(granted?.qos, qos);
    return client;
  }

  /** The next message. */
  next(): Promise<Publish> {
    const [publish] = this.#heard.splice(0, 1);
    if (publish !== undefined) return Promise.resolve(publish);
    return within("a PUBLISH", new Promise((resolve) => this.#awaited = resolve));
  }

  /** The messages before the one with this payload. */
  async before(text: string): Promise<Publish[]> {
    const heard: Publish[] = [];
    for (;;) {
      const publish = await this.next();
      if (publish.text === text) return heard;
      heard.push(publish);
    }
  }

  /** The reason with which the server says good-bye, once it has closed the connection. */
  get told(): Promise<number | undefined> {
    return within("the DISCONNECT", this.#told.promise);
  }

  /** Loses its connection, and does not come again by itself. */
  async lose(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.mqtt.once("close", () => resolve()));
    this.mqtt.stream.destroy();
    await within("the close", closed);
  }

  /** Comes again, with what it kept. */
  async comeAgain(): Promise<void> {
    const connected = new Promise<void>((resolve) => this.mqtt.once("connect", () => resolve()));
    const { incomingStore, outgoingStore } = this.mqtt;
    this.mqtt.reconnect({ incomingStore, outgoingStore });
    await within("the CONNACK", connected);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Without a connection, what it has not sent would be waited for.
    await this.mqtt.endAsync(!this.mqtt.connected);
  }
}
