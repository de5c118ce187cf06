// Quotation marks in a quotation: double ones become single and the other way (GB/T 15834-2011, 4.8).

const NESTED = { "“": "‘", "”": "’", "‘": "“", "’": "”" };

/** `text` as it stands between “ and ”. */
export const nested = (text) => text.replace(/[“”‘’]/g, (mark) => NESTED[mark]);
