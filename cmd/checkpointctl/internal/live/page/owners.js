// The colours of owners.
import { compareNatural } from "./dom.js";

const colours = 10; // as many as app.css has, .own-0 to .own-9
const textures = 3; // .tex-0 (none) to .tex-2, when there are more owners than colours

const slots = colours * textures;

function hash(text) {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
  return h >>> 0;
}

// Palette gives each owner of a group a slot: one colour and one texture. An owner keeps its slot while the page is
// open. Which one it gets first depends on its name, so that it mostly has the same colour after a reload.
export class Palette {
  #slots = new Map();

  // see tells the owners that are there now. The slots of others are free again when they run out.
  see(owners) {
    const now = [...new Set(owners)].sort(compareNatural);
    const added = now.filter((owner) => !this.#slots.has(owner));
    if (this.#slots.size + added.length > colours) {
      for (const owner of this.#slots.keys()) if (!now.includes(owner)) this.#slots.delete(owner);
    }
    const taken = new Set(this.#slots.values());
    for (const owner of added) {
      const first = hash(owner) % colours;
      let slot = first;
      for (let i = 0; i < slots; i++) {
        slot = Math.floor(i / colours) * colours + ((first + i) % colours);
        if (!taken.has(slot)) break;
      }
      taken.add(slot);
      this.#slots.set(owner, slot);
    }
  }

  // classOf is the class of a partition's colour, by its owner and its state.
  classOf(owner, state) {
    if (state === "never owned") return "never";
    if (state === "relinquished" || owner === null || !this.#slots.has(owner)) return "relinquished";
    const slot = this.#slots.get(owner);
    const name = `own-${slot % colours} tex-${Math.floor(slot / colours)}`;
    return state === "expired" ? name + " expired" : name;
  }
}

// ownersOf counts the partitions of each owner, in natural order.
export function ownersOf(partitions) {
  const counts = new Map();
  for (const p of partitions) {
    if (p.ownerId !== null && p.state !== "relinquished") counts.set(p.ownerId, (counts.get(p.ownerId) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => compareNatural(a[0], b[0]));
}
