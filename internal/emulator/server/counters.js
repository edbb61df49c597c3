'use strict';

// Counters counts events by name and answers who waits for a count.
class Counters {
    constructor(...names) {
        this.counts = Object.fromEntries(names.map(name => [name, 0]));
        this.waiting = []; // {name, n, resolve}
    }

    add(name, n = 1) {
        this.counts[name] += n;
        if (this.waiting.length === 0) {
            return;
        }
        this.waiting = this.waiting.filter(w => {
            const reached = this.counts[w.name] >= w.n;
            if (reached) {
                w.resolve();
            }
            return !reached;
        });
    }

    // reached returns a promise that is kept when the count of name is at least n.
    reached(name, n) {
        if (!Object.hasOwn(this.counts, name)) {
            throw new Error(`${name} is not counted here`);
        }
        if (this.counts[name] >= n) {
            return undefined;
        }
        return new Promise(resolve => this.waiting.push({ name, n, resolve }));
    }
}

module.exports = { Counters };
