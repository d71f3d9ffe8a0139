/** When the page is drawn. */
import { options } from "preact";

/** How long a change may wait in a tab in the background, where there are no frames. */
const AT_MOST_MS = 100;

/** What comes before the user's doing has an effect. */
const USER_EVENTS = ["keydown", "beforeinput", "pointerdown", "click", "submit"];

/**
 * Draws a burst of changes frame by frame, not one by one; called once.
 *
 * Whatever the user does is done to what is true now, not to the frame before. `input` is none of those events: the
 * field holds by then what its state does not know yet, and drawing would take it away.
 */
export function drawByFrames(): void {
  let drawNow = () => {};
  options.debounceRendering = (draw) => {
    drawNow = () => {
      drawNow = () => {};
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      draw();
    };
    const frame = requestAnimationFrame(() => drawNow());
    const timer = setTimeout(() => drawNow(), AT_MOST_MS);
  };
  for (const kind of USER_EVENTS) document.addEventListener(kind, () => drawNow(), { capture: true });
}
