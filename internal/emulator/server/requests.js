'use strict';

// Answers to the requests on $cbs and $management.

const rhea = require('rhea');
const { offsetOf } = require('./partition.js');
const { long } = require('./encode.js');

const ARRAY_OF_STRING = 0xb1;
const NEVER = new Date('0001-01-01T00:00:00Z');

function answer(hub, address, request) {
    if (address === '$cbs') {
        return { code: 202, description: 'Accepted' };
    }
    const wanted = request.application_properties || {};
    if (wanted.operation !== 'READ' || String(wanted.name).toLowerCase() !== hub.name.toLowerCase()) {
        return { code: 404, description: `no entity ${wanted.name}` };
    }
    if (wanted.type === 'com.microsoft:eventhub') {
        return { code: 200, description: 'OK', body: hubProperties(hub) };
    }
    const partition = hub.partitions.get(wanted.partition);
    if (wanted.type !== 'com.microsoft:partition' || !partition) {
        return { code: 404, description: `no partition ${wanted.partition}` };
    }
    return { code: 200, description: 'OK', body: partitionProperties(hub, partition) };
}

function hubProperties(hub) {
    return {
        name: hub.name,
        type: 'com.microsoft:eventhub',
        created_at: rhea.types.wrap_timestamp(hub.created),
        partition_count: rhea.types.wrap_int(hub.partitions.size),
        partition_ids: rhea.types.wrap_array([...hub.partitions.keys()], ARRAY_OF_STRING),
        georeplication_factor: rhea.types.wrap_int(1),
    };
}

function partitionProperties(hub, partition) {
    const empty = partition.count === 0;
    return {
        name: hub.name,
        type: 'com.microsoft:partition',
        partition: partition.id,
        begin_sequence_number: long(partition.first),
        last_enqueued_sequence_number: long(partition.last),
        last_enqueued_offset: empty ? '-1' : offsetOf(partition.last).toString(),
        last_enqueued_time_utc: rhea.types.wrap_timestamp(empty ? NEVER : new Date(partition.times[partition.count - 1])),
        is_partition_empty: empty,
    };
}

// reply builds the message that carries an answer to the request.
function reply(request, { code, description, body }) {
    return {
        correlation_id: request.message_id,
        application_properties: {
            'status-code': rhea.types.wrap_int(code),
            'status-description': description,
        },
        body: body === undefined ? null : body,
    };
}

module.exports = { answer, reply };
