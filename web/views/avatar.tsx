import { useState } from "preact/hooks";
import { hueOf, initialsOf } from "../format.ts";
import { nameOf, userOf } from "../state/users.ts";

const COLOURS = 8;

/** A user's picture, or initials on the user's colour. Decoration: the name stands beside it. */
export function Avatar({ userId, size = "medium" }: { userId: string; size?: "small" | "medium" | "large" }) {
  const portrait = userOf(userId).value?.portrait ?? "";
  return <Face id={userId} name={nameOf(userId)} portrait={portrait} size={size} />;
}

/** The same for somebody who is no user of this page yet. */
export function Face(
  { id, name, portrait, size }: {
    id: string;
    name: string;
    portrait: string;
    size: "small" | "medium" | "large";
  },
) {
  const [broken, setBroken] = useState("");
  const shown = /^(https?:\/\/|\/)/.test(portrait) && portrait !== broken;
  return (
    <span class={`avatar avatar-${size} hue-${hueOf(id, COLOURS)}`} aria-hidden="true">
      {shown
        ? <img src={portrait} alt="" loading="lazy" onError={() => setBroken(portrait)} />
        : <span>{initialsOf(name)}</span>}
    </span>
  );
}
