// A text as a QR code: one path of squares, each a unit wide.
import { encode } from 'uqr';

export interface QrCode {
  /** length of a side with its quiet zone, in units */
  size: number;
  path: string;
}

/** The light margin that readers need around a code, in units. */
const QUIET_ZONE = 4;

export function qrCode(text: string): QrCode {
  const { data, size } = encode(text, { ecc: 'M', border: QUIET_ZONE });
  // Neighbours of a row are one stroke: fewer of them, and no seams between them.
  const runs = data.flatMap((row, y) => {
    const found: string[] = [];
    for (let x = 0; x < row.length; x += 1) {
      const begin = x;
      while (row[x]) x += 1;
      if (x > begin) found.push(`M${begin} ${y}h${x - begin}v1h${begin - x}z`);
    }
    return found;
  });
  return { size, path: runs.join('') };
}
