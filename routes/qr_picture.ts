import qrcode from "qrcode-generator";

/** A text as a QR code, an SVG picture that scales; the quiet zone of four modules is part of it. */
export function drawQr(text: string): string {
  // The smallest version that holds the text; a screen is read well, so a medium correction is enough.
  const code = qrcode(0, "M");
  code.addData(text);
  code.make();
  return code.createSvgTag({ cellSize: 1, margin: 4, scalable: true });
}
