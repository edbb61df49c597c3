'use strict';

// Answers to the requests on $cbs and $management.

const rhea = require('rhea');
const { long } = require('./encode.js');

const ARRAY_OF_STRING = 0xb1;

// The status codes that go with conditions; any other condition is a 500.
const CODES = {
    'amqp:unauthorized-access': 401,
    'amqp:not-found': 404,
    'com.microsoft:server-busy': 503,
};

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
    return {
        name: hub.name,
        type: 'com.microsoft:partition',
        partition: partition.id,
        begin_sequence_number: long(partition.first),
        last_enqueued_sequence_number: long(partition.last),
        last_enqueued_offset: partition.lastOffset.toString(),
        last_enqueued_time_utc: rhea.types.wrap_timestamp(partition.lastTime),
        is_partition_empty: partition.empty,
    };
}

// denied is the answer to a request that is refused with a condition.
function denied(condition) {
    return { code: CODES[condition] || 500, description: `${condition}: denied` };
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

module.exports = { answer, denied, reply };
