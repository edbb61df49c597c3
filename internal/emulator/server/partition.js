'use strict';

// The events of one partition: sequence numbers without gaps from `first`, an offset that is never equal to the
// sequence number, and the time each was enqueued. The rest of an event follows from these.

const OFFSET_STEP = 64n;

function offsetOf(sequence) {
    return (sequence + 1n) * OFFSET_STEP;
}

class Partition {
    constructor(id, first, count) {
        this.id = id;
        this.first = first; // BigInt
        this.times = []; // milliseconds, never decreasing
        this.stats = { opened: 0, stolen: 0, refused: 0, sent: 0 };
        const now = Date.now();
        for (let i = 0; i < count; i++) {
            this.times.push(now - count + i); // one millisecond apart, all in the past
        }
    }

    get count() {
        return this.times.length;
    }

    get last() {
        return this.first + BigInt(this.count) - 1n;
    }

    append(n) {
        const time = Math.max(Date.now(), this.count ? this.times[this.count - 1] + 1 : 0);
        for (let i = 0; i < n; i++) {
            this.times.push(time);
        }
    }

    sequenceAt(index) {
        return this.first + BigInt(index);
    }

    // start returns the index of the first event that a selector lets through, or undefined if it is not a selector.
    start(selector) {
        const parts = /^amqp\.annotation\.(x-opt-[a-z-]+)\s*(>=?)\s*'([^']*)'$/.exec(selector.trim());
        if (!parts) {
            return undefined;
        }
        const [, field, operator, text] = parts;
        if (text === '@latest') {
            return this.count;
        }
        if (text === '-1') {
            return 0;
        }
        if (!/^-?\d+$/.test(text)) {
            return undefined;
        }
        const keys = {
            'x-opt-offset': i => offsetOf(this.sequenceAt(i)),
            'x-opt-sequence-number': i => this.sequenceAt(i),
            'x-opt-enqueued-time': i => BigInt(this.times[i]),
        };
        const key = keys[field];
        if (!key) {
            return undefined;
        }
        const bound = BigInt(text);
        return this.search(operator === '>' ? i => key(i) > bound : i => key(i) >= bound);
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
