/** Which part of a long list is drawn, and where the eye stays while it changes. */
import type { RefObject } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

interface Keyed {
  readonly key: string;
}

/** At most this many lines are drawn; 100,000 messages then cost what 160 do. */
const MAX_LINES = 160;
const STEP = 40;
/** How near to an edge the next lines are drawn, in pixels. */
const NEAR_PX = 400;
/** How near to the bottom counts as being there. */
const END_PX = 60;

/** The window of a list: lines `start` to `end` (exclusive) are drawn. */
export interface ListWindow {
  readonly start: number;
  readonly end: number;
  /** The newest line is in sight: what comes is followed. */
  readonly atEnd: boolean;
  readonly toEnd: () => void;
}

/**
 * Follows the end of `items` until the user scrolls up, then keeps the line in sight where it is, whatever is added
 * above or below. `loadMore` is called near the top of everything there is.
 */
export function useWindow(
  scroller: RefObject<HTMLElement | null>,
  items: readonly Keyed[],
  loadMore: () => void,
): ListWindow {
  // The first drawn line by its key, since indices move when older lines come; null follows the end.
  const [firstKey, setFirstKey] = useState<string | null>(null);
  const anchor = useRef<{ key: string; top: number } | null>(null);
  const latest = useRef({ items, start: 0, end: 0, loadMore });

  const found = firstKey === null ? -1 : items.findIndex(({ key }) => key === firstKey);
  const atEnd = found === -1;
  const start = atEnd ? Math.max(0, items.length - MAX_LINES / 2) : found;
  const end = atEnd ? items.length : Math.min(items.length, start + MAX_LINES);
  latest.current = { items, start, end, loadMore };

  useLayoutEffect(() => {
    const element = scroller.current!;
    const look = () => {
      const { items, start, end, loadMore } = latest.current;
      const below = element.scrollHeight - element.scrollTop - element.clientHeight;
      if (below < END_PX && end === items.length) {
        anchor.current = null;
        return setFirstKey(null);
      }
      anchor.current = firstVisible(element);
      if (element.scrollTop < NEAR_PX) {
        if (start === 0) loadMore();
        setFirstKey(items[Math.max(0, start - STEP)]?.key ?? null);
      } else if (below < NEAR_PX && end < items.length) {
        setFirstKey(items[Math.min(start + STEP, items.length - 1)]?.key ?? null);
      } else {
        setFirstKey(items[start]?.key ?? null);
      }
    };
    const stay = () => {
      if (anchor.current === null) element.scrollTop = element.scrollHeight;
    };
    const observer = new ResizeObserver(stay);
    observer.observe(element);
    if (element.lastElementChild !== null) observer.observe(element.lastElementChild);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);

  useLayoutEffect(() => {
    const element = scroller.current!;
    if (atEnd) {
      anchor.current = null;
      element.scrollTop = element.scrollHeight;
      return;
    }
    const held = anchor.current;
    if (held === null) return;
    const line = lineOf(element, held.key);
    if (line !== null) element.scrollTop += topOf(element, line) - held.top;
    anchor.current = firstVisible(element);
    // Older lines came while the view stood at the very top, where no scroll event asks for them.
    if (element.scrollTop < NEAR_PX && start > 0) setFirstKey(items[Math.max(0, start - STEP)]!.key);
  }, [items, start, end, atEnd]);

  const toEnd = () => {
    anchor.current = null;
    const element = scroller.current;
    // Scrolling now, before the last lines are drawn, would be taken for the user's.
    if (!atEnd) setFirstKey(null);
    else if (element !== null) element.scrollTop = element.scrollHeight;
  };
  return { start, end, atEnd, toEnd };
}

function topOf(element: HTMLElement, line: Element): number {
  return line.getBoundingClientRect().top - element.getBoundingClientRect().top;
}

function lineOf(element: HTMLElement, key: string): Element | null {
  return element.querySelector(`[data-key="${CSS.escape(key)}"]`);
}

function firstVisible(element: HTMLElement): { key: string; top: number } | null {
  for (const line of element.querySelectorAll<HTMLElement>("[data-key]")) {
    const top = topOf(element, line);
    if (top + line.offsetHeight > 0) return { key: line.dataset.key!, top };
  }
  return null;
}
