import { followFilter, levelEnd, NO_MATCH, TAKES_ALL } from "./topic.ts";

/** What a place in the tree holds, and the levels that lead to it from the place above. */
interface Node<V> {
  /** One level or more, joined by "/": places with one way on and nothing in them are not nodes of their own. */
  path: string;
  value: V | null;
  /** By the first level of their path; made when there is one. */
  children: Map<string, Node<V>> | null;
}

const SLASH = 47;

/**
 * Values by topic filter, to be found by topic, or by topic, to be found by topic filter. A node has a value or at
 * least two ways on, so a path costs two nodes at most however many levels it has. Names and filters are checked before.
 *
 * Source: MQTT Version 5.0, section 4.7; MQTT Version 3.1.1, section 4.7.
 */
export class TopicTree<V extends object> {
  readonly #root: Node<V> = { path: "", value: null, children: null };

  /** Nodes held, the root apart; counted by a walk. */
  get nodeCount(): number {
    let count = -1;
    const stack = [this.#root];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      count++;
      if (node.children !== null) { for (const child of node.children.values()) stack.push(child); }
    }
    return count;
  }

  /** The value at exactly this filter or topic; null when there is none. */
  get(path: string): V | null {
    return this.#find(path)?.node.value ?? null;
  }

  /** Puts a value in place of the one at exactly this filter or topic. */
  set(path: string, value: V): void {
    let node = this.#root;
    for (let at = 0;;) {
      const level = levelAt(path, at);
      let child = node.children?.get(level);
      if (child === undefined) {
        child = { path: ownCopy(path.slice(at)), value, children: null };
        (node.children ??= new Map()).set(ownCopy(level), child);
        return;
      }
      const end = sharedEnd(child.path, path, at);
      if (end < child.path.length) child = split(node, level, child, end);
      at += end;
      if (at === path.length) {
        child.value = value;
        return;
      }
      at++;
      node = child;
    }
  }

  /** Takes the value at exactly this filter or topic away, and the branches that led to it alone. */
  delete(path: string): void {
    const found = this.#find(path);
    if (found === null) return;
    const { node, parent } = found;
    node.value = null;
    if (node.children !== null) {
      joinOnlyChild(node);
      return;
    }
    const children = parent.children!;
    children.delete(levelAt(node.path, 0));
    if (children.size === 0) parent.children = null;
    else if (parent !== this.#root && parent.value === null) joinOnlyChild(parent);
  }

  /** The values of every filter that matches a topic. The tree may change while the result is gone through. */
  listByTopic(topic: string): V[] {
    const found: V[] = [];
    collectByTopic(this.#root, topic, 0, found);
    return found;
  }

  /** The values of every topic a filter matches, in no order. Without recursion: topics may have 32,767 levels. */
  listByFilter(topicFilter: string): V[] {
    const found: V[] = [];
    const levels = topicFilter.split("/");
    const stack: { readonly node: Node<V>; readonly depth: number }[] = [];
    pushChildren(this.#root, levels[0]!, 0, stack);
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const { node } = next;
      const depth = followTopic(node.path, levels, next.depth);
      if (depth === NO_MATCH) continue;
      if (depth === TAKES_ALL || levels[depth] === "#") collectAll(node, found);
      else if (depth < levels.length) pushChildren(node, levels[depth]!, depth, stack);
      else if (node.value !== null) found.push(node.value);
    }
    return found;
  }

  #find(path: string): { readonly node: Node<V>; readonly parent: Node<V> } | null {
    let parent = this.#root;
    for (let at = 0;;) {
      const node = parent.children?.get(levelAt(path, at));
      if (node === undefined || !path.startsWith(node.path, at)) return null;
      at += node.path.length;
      if (at === path.length) return node.value === null ? null : { node, parent };
      if (path.charCodeAt(at) !== SLASH) return null;
      at++;
      parent = node;
    }
  }
}

/** Collects what matches below a node that took the topic up to `at`; past its length nothing is left of it. */
function collectByTopic<V extends object>(node: Node<V>, topic: string, at: number, found: V[]): void {
  const isOver = at > topic.length;
  if (isOver && node.value !== null) found.push(node.value);
  const { children } = node;
  if (children === null) return;
  if (!isOver) {
    collectByChild(children.get(levelAt(topic, at)), topic, at, found);
    if (at === 0 && topic.startsWith("$")) return; // [MQTT-4.7.2-1]
    collectByChild(children.get("+"), topic, at, found);
  }
  collectByChild(children.get("#"), topic, at, found);
}

function collectByChild<V extends object>(
  child: Node<V> | undefined,
  topic: string,
  at: number,
  found: V[],
): void {
  if (child === undefined) return;
  const end = followFilter(child.path, topic, at);
  if (end === TAKES_ALL) found.push(child.value!); // nothing stands behind `#`
  else if (end !== NO_MATCH) collectByTopic(child, topic, end, found);
}

function collectAll<V>(top: Node<V>, found: V[]): void {
  const stack = [top];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node.value !== null) found.push(node.value);
    if (node.children !== null) { for (const child of node.children.values()) stack.push(child); }
  }
}

/** Puts the children a level of a filter lets in on the stack. */
function pushChildren<V>(
  node: Node<V>,
  level: string,
  depth: number,
  stack: { readonly node: Node<V>; readonly depth: number }[],
): void {
  if (node.children === null) return;
  if (level !== "+" && level !== "#") {
    const child = node.children.get(level);
    if (child !== undefined) stack.push({ node: child, depth });
    return;
  }
  for (const [name, child] of node.children) {
    if (depth > 0 || !name.startsWith("$")) stack.push({ node: child, depth }); // [MQTT-4.7.2-1]
  }
}

/** How many levels of a filter are used up behind the levels of a topic. */
function followTopic(path: string, levels: readonly string[], depth: number): number {
  for (let at = 0;; at++, depth++) {
    const level = levels[depth];
    if (level === undefined) return NO_MATCH;
    if (level === "#") return TAKES_ALL;
    const end = levelEnd(path, at);
    if (level !== "+" && (end - at !== level.length || !path.startsWith(level, at))) return NO_MATCH;
    if (end === path.length) return depth + 1;
    at = end;
  }
}

function levelAt(path: string, at: number): string {
  return path.slice(at, levelEnd(path, at));
}

/** Length of the whole levels that a node's path and what another has from `at` begin with; the first is the same. */
function sharedEnd(nodePath: string, path: string, at: number): number {
  const rest = path.length - at;
  const most = Math.min(nodePath.length, rest);
  let i = 0;
  while (i < most && nodePath.charCodeAt(i) === path.charCodeAt(at + i)) i++;
  const endsNode = i === nodePath.length || nodePath.charCodeAt(i) === SLASH;
  const endsRest = i === rest || path.charCodeAt(at + i) === SLASH;
  return endsNode && endsRest ? i : nodePath.lastIndexOf("/", i - 1);
}

/** Puts a node between a parent and its child that takes over the first levels of the child's path. */
function split<V>(parent: Node<V>, level: string, child: Node<V>, end: number): Node<V> {
  const lower = child.path.slice(end + 1);
  const between: Node<V> = {
    path: ownCopy(child.path.slice(0, end)),
    value: null,
    children: new Map([[ownCopy(levelAt(lower, 0)), child]]),
  };
  child.path = ownCopy(lower);
  parent.children!.set(level, between);
  return between;
}

/** Makes one node of an empty one and its child where it has a single one. */
function joinOnlyChild<V>(node: Node<V>): void {
  if (node.children!.size !== 1) return;
  const [child] = node.children!.values();
  node.path = ownCopy(`${node.path}/${child!.path}`);
  node.value = child!.value;
  node.children = child!.children;
}

/** A text that keeps no longer one alive: engines make a slice a view of what it was cut from. */
function ownCopy(text: string): string {
  return ` ${text}`.slice(1);
}
