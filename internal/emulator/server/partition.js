'use strict';

// The events of one partition: sequence numbers without gaps from `first`, an offset that is never equal to the
// sequence number, the time each was enqueued, and the application properties of those that have any. The rest of an
// event follows from these.

const { Counters } = require('./counters.js');
const { error } = require('./faults.js');

const OFFSET_STEP = 64n;
const NEVER = Date.parse('0001-01-01T00:00:00Z');

function offsetOf(sequence) {
    return (sequence + 1n) * OFFSET_STEP;
}

class Partition {
    constructor(id, first, count) {
        this.id = id;
        this.first = first; // BigInt
        this.times = []; // milliseconds, never decreasing
        this.properties = new Map(); // application properties, by index
        this.counters = new Counters('opened', 'closed', 'stolen', 'refused', 'held', 'sent');
        const now = Date.now();
        for (let i = 0; i < count; i++) {
            this.times.push(now - count + i); // one millisecond apart, all in the past
        }
        this.created = now - count - 1;
    }

    get count() {
        return this.times.length;
    }

    get empty() {
        return this.count === 0;
    }

    // What is known of the last event outlives it: a partition whose events before `first` have all expired is empty
    // and still has them. One that never had an event has -1, "-1" and the year 1.

    get last() {
        return this.first + BigInt(this.count) - 1n;
    }

    get lastOffset() {
        return this.last < 0n ? -1n : offsetOf(this.last);
    }

    get lastTime() {
        if (!this.empty) {
            return this.times[this.count - 1];
        }
        return this.last < 0n ? NEVER : this.created;
    }

    append(n, properties) {
        const time = Math.max(Date.now(), this.empty ? 0 : this.lastTime + 1);
        for (let i = 0; i < n; i++) {
            if (properties) {
                this.properties.set(this.count, properties);
            }
            this.times.push(time);
        }
    }

    sequenceAt(index) {
        return this.first + BigInt(index);
    }

    // start returns {next}, the index of the first event that a selector lets through, or {error}.
    start(selector) {
        const invalid = { error: error('com.microsoft:argument-error', `filter ${selector} is not understood`) };
        const parts = /^amqp\.annotation\.(x-opt-[a-z-]+)\s*(>=?)\s*'([^']*)'$/.exec(selector.trim());
        if (!parts) {
            return invalid;
        }
        const [, field, operator, text] = parts;
        if (text === '@latest') {
            return { next: this.count };
        }
        if (field === 'x-opt-offset' && text === '-1') {
            return { next: 0 };
        }
        const fields = {
            'x-opt-offset': { name: 'offset', key: i => offsetOf(this.sequenceAt(i)), last: this.lastOffset },
            'x-opt-sequence-number': { name: 'sequence number', key: i => this.sequenceAt(i), last: this.last },
            'x-opt-enqueued-time': { key: i => BigInt(this.times[i]) },
        };
        if (!fields[field] || !/^-?\d+$/.test(text)) {
            return invalid;
        }
        const bound = BigInt(text);
        const { name, key, last } = fields[field];
        if (last !== undefined && bound > last) {
            return { error: error('com.microsoft:argument-error', `The supplied ${name} '${bound}' is invalid. The last ${name} in the system is '${last}'`) };
        }
        return { next: this.search(operator === '>' ? i => key(i) > bound : i => key(i) >= bound) };
    }

    // search returns the first index for which holds is true, given that it is true for all after it.
    search(holds) {
        let low = 0;
        let high = this.count;
        while (low < high) {
            const middle = Math.floor((low + high) / 2);
            if (holds(middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        return low;
    }
}

module.exports = { Partition, offsetOf };
