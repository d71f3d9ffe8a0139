/** Resolves when `performance.now()` has reached `atMs`. */
export function reach(atMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, atMs - performance.now())));
}
