'use strict';

const rhea = require('rhea');
const { offsetOf } = require('./partition.js');

// long encodes a BigInt as an AMQP long; a JavaScript number would lose digits beyond 2^53.
function long(value) {
    const buffer = Buffer.alloc(8);
    buffer.writeBigInt64BE(value);
    return rhea.types.wrap_long(buffer);
}

// event builds the message for the event at an index of a partition.
function event(partition, index) {
    const sequence = partition.sequenceAt(index);
    return {
        message_annotations: {
            'x-opt-sequence-number': long(sequence),
            'x-opt-offset': offsetOf(sequence).toString(),
            'x-opt-enqueued-time': rhea.types.wrap_timestamp(partition.times[index]),
        },
        application_properties: partition.properties.get(index),
        body: rhea.message.data_section(Buffer.from(`{"p":"${partition.id}","n":${sequence}}`)),
    };
}

module.exports = { long, event };
