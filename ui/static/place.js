// Places in the documents as the hashes of links: `#document=…&start=…&end=…` or `#document=…&article=…`.

export const isPlace = (hash) => hash.startsWith("#document=");

/** What a place's hash says. */
export const fields = (hash) => new URLSearchParams(hash.slice(1));

/** Whether two hashes name one place, however their characters are escaped. */
export const samePlace = (one, other) => isPlace(one) && String(fields(one)) === String(fields(other));
