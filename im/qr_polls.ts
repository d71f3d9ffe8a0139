interface Poll {
  /** Higher is newer. */
  readonly order: number;
  readonly superseded: AbortController;
}

/**
 * The polls that wait on this node: one per QR login. A page asks one at a time, so a newer poll says that nobody waits
 * for the older any more, even where its connection still looks alive.
 */
export class QrPolls {
  readonly #newest = new Map<string, Poll>();
  #begun = 0;

  /** A place in the order of polls, to be taken as soon as a poll arrives. */
  nextOrder(): number {
    return ++this.#begun;
  }

  /**
   * Runs a poll whose right to the QR login is proved; its signal aborts when its client is gone, or when a newer one
   * of the same QR login runs.
   */
  async hold<T>(
    place: { readonly qrId: string; readonly order: number },
    gone: AbortSignal,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { qrId, order } = place;
    const poll: Poll = { order, superseded: new AbortController() };
    const other = this.#newest.get(qrId);
    if (other !== undefined && other.order > order) {
      poll.superseded.abort();
    } else {
      other?.superseded.abort();
      this.#newest.set(qrId, poll);
    }
    try {
      return await run(AbortSignal.any([gone, poll.superseded.signal]));
    } finally {
      if (this.#newest.get(qrId) === poll) this.#newest.delete(qrId);
    }
  }
}
