import type { Connection } from "./connection.ts";

const NOBODY: readonly Connection[] = [];

/** Who is connected: the open connections of every user. */
export class Registry {
  readonly #users = new Map<string, Connection[]>();
  #connections = 0;

  /** Open connections. */
  get connections(): number {
    return this.#connections;
  }

  /** Users with at least one. */
  get users(): number {
    return this.#users.size;
  }

  /** A user's connections; the array changes with them: copy it to close some. */
  listConnections(userId: string): readonly Connection[] {
    return this.#users.get(userId) ?? NOBODY;
  }

  /** The connection of one installation of a user; there is at most one. */
  getConnection(userId: string, clientId: string): Connection | null {
    return this.listConnections(userId).find((connection) => connection.login?.clientId === clientId) ?? null;
  }

  /** Adds a connection whose login is known. */
  add(userId: string, connection: Connection): void {
    const connections = this.#users.get(userId);
    if (connections === undefined) this.#users.set(userId, [connection]);
    else connections.push(connection);
    this.#connections++;
  }

  /** Takes a connection out; whether it was there. */
  delete(userId: string, connection: Connection): boolean {
    const connections = this.#users.get(userId);
    const at = connections?.indexOf(connection) ?? -1;
    if (connections === undefined || at < 0) return false;
    if (connections.length === 1) this.#users.delete(userId);
    else connections.splice(at, 1);
    this.#connections--;
    return true;
  }
}
