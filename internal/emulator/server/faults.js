'use strict';

// What is denied and what hangs. A target is 'everything', 'management', 'partitions' or 'partition <id>'.

const EVERYTHING = 'everything';
const MANAGEMENT = 'management';
const PARTITIONS = 'partitions';

const partitionTarget = id => `partition ${id}`;

class Faults {
    constructor() {
        this.denied = new Map(); // conditions by target
        this.hung = new Set(); // of targets
    }

    // denialOf returns the condition with which an attach to a target is refused, or undefined.
    denialOf(target) {
        return widen(target).map(t => this.denied.get(t)).find(condition => condition !== undefined);
    }

    hangs(target) {
        return widen(target).some(t => this.hung.has(t));
    }
}

// widen returns the targets that cover a target, the narrowest first.
function widen(target) {
    return target.startsWith('partition ') ? [target, PARTITIONS, EVERYTHING] : [target, EVERYTHING];
}

// error builds the error of an AMQP frame.
function error(condition, description) {
    return { condition, description };
}

module.exports = { Faults, error, EVERYTHING, MANAGEMENT, PARTITIONS, partitionTarget };
