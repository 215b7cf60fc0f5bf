// Files from a drop, a folder or a file dialog, with the path a person knows them by.

const SHOWN = /\.(png|jpe?g|webp|bmp|tiff?)$/i;

/** What was dropped: {found: [{file, path}], skipped} where skipped counts what in folders is no image. */
export async function dropped(transfer) {
  // The list is emptied once this function first waits, so entries are taken out at once.
  const entries = [...transfer.items].filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile()).filter(Boolean);
  const all = [];
  for (const entry of entries) {
    if (entry instanceof File) all.push({ file: entry, path: entry.name });
    else if (entry.isDirectory) all.push(...await below(entry, `${entry.name}/`));
    else all.push({ file: await fileOf(entry), path: entry.name, named: true });
  }
  return sorted(all);
}

/** What a file dialog gave. */
export function chosen(list) {
  return sorted([...list].map((file) => ({
    file, path: file.webkitRelativePath || file.name, named: !file.webkitRelativePath,
  })));
}

/** In folders only images are looked for; a file that was picked by itself is always sent. */
function sorted(all) {
  const found = all.filter(({ path, named }) => named || SHOWN.test(path));
  found.sort((a, b) => a.path.localeCompare(b.path, undefined, { numeric: true }));
  return { found, skipped: all.length - found.length };
}

async function below(folder, prefix) {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (!part.length) return found;
    for (const entry of part) {
      if (entry.isDirectory) found.push(...await below(entry, `${prefix}${entry.name}/`));
      else found.push({ file: await fileOf(entry), path: prefix + entry.name });
    }
  }
}

function fileOf(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}
