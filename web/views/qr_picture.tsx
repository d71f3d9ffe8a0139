import { useMemo } from "preact/hooks";

/** Draws the server's QR picture; of its SVG only the view box and the path are taken over. */
export function QrPicture({ svg, label }: { svg: string; label: string }) {
  const { viewBox, path } = useMemo(() => {
    const root = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
    const paths = [...root.querySelectorAll("path")].map((one) => one.getAttribute("d") ?? "");
    const box = root.getAttribute("viewBox") ??
      `0 0 ${parseFloat(root.getAttribute("width") ?? "100")} ${
        parseFloat(root.getAttribute("height") ?? "100")
      }`;
    return { viewBox: box, path: paths.join("") };
  }, [svg]);
  return (
    <svg class="qr-picture" viewBox={viewBox} role="img" aria-label={label} shape-rendering="crispEdges">
      <path d={path} />
    </svg>
  );
}
