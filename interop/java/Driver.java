import com.azure.messaging.eventhubs.checkpointstore.blob.BlobCheckpointStore;
import com.azure.messaging.eventhubs.models.Checkpoint;
import com.azure.messaging.eventhubs.models.PartitionOwnership;
import com.azure.storage.blob.BlobContainerClientBuilder;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Drives the Java checkpoint store for the tests: one JSON request per line in, one JSON answer per line out. */
public final class Driver {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Map<String, BlobCheckpointStore> stores = new HashMap<>();

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err); // what libraries print is no answer
        Driver driver = new Driver();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode reply;
            try {
                reply = driver.answer(JSON.readTree(line));
            } catch (Exception error) {
                reply = JSON.createObjectNode().put("error", error.toString().replaceAll("\\s+", " "));
            }
            out.println(JSON.writeValueAsString(reply));
            out.flush();
        }
        System.exit(0); // the client's threads would go on
    }

    private ObjectNode answer(JsonNode request) {
        BlobCheckpointStore store = storeOf(request.get("container").asText());
        String namespace = request.get("namespace").asText();
        String hub = request.get("hub").asText();
        String group = request.get("group").asText();
        switch (request.get("call").asText()) {
            case "list-ownership":
                return ownerships(store.listOwnership(namespace, hub, group).collectList().block());
            case "claim":
                return ownerships(store.claimOwnership(claims(request, false)).collectList().block());
            case "relinquish": // as EventProcessorClient does when it stops
                return ownerships(store.claimOwnership(claims(request, true)).collectList().block());
            case "update-checkpoint":
                for (JsonNode c : request.get("checkpoints")) {
                    store.updateCheckpoint(new Checkpoint()
                        .setFullyQualifiedNamespace(namespace)
                        .setEventHubName(hub)
                        .setConsumerGroup(group)
                        .setPartitionId(c.get("partition").asText())
                        .setOffsetString(text(c, "offset"))
                        .setSequenceNumber(c.hasNonNull("sequenceNumber") ? c.get("sequenceNumber").asLong() : null)).block();
                }
                return JSON.createObjectNode();
            case "list-checkpoints":
                return checkpoints(store.listCheckpoints(namespace, hub, group).collectList().block());
            default:
                throw new IllegalArgumentException("unknown call " + request.get("call"));
        }
    }

    private BlobCheckpointStore storeOf(String container) {
        return stores.computeIfAbsent(container, name -> new BlobCheckpointStore(new BlobContainerClientBuilder()
            .connectionString(System.getenv("INTEROP_CONNECTION_STRING"))
            .containerName(name)
            .buildAsyncClient()));
    }

    private static List<PartitionOwnership> claims(JsonNode request, boolean relinquish) {
        List<PartitionOwnership> all = new ArrayList<>();
        for (JsonNode o : request.get("ownerships")) {
            all.add(new PartitionOwnership()
                .setFullyQualifiedNamespace(request.get("namespace").asText())
                .setEventHubName(request.get("hub").asText())
                .setConsumerGroup(request.get("group").asText())
                .setPartitionId(o.get("partition").asText())
                .setOwnerId(relinquish ? "" : text(o, "owner"))
                .setETag(text(o, "etag")));
        }
        return all;
    }

    private static ObjectNode ownerships(List<PartitionOwnership> found) {
        ObjectNode reply = JSON.createObjectNode();
        ArrayNode all = reply.putArray("ownerships");
        for (PartitionOwnership o : found) {
            ObjectNode one = all.addObject();
            one.put("partition", o.getPartitionId()).put("owner", o.getOwnerId()).put("etag", o.getETag());
            if (o.getLastModifiedTime() != null) {
                one.put("modified", o.getLastModifiedTime() / 1000);
            }
        }
        return reply;
    }

    private static ObjectNode checkpoints(List<Checkpoint> found) {
        ObjectNode reply = JSON.createObjectNode();
        ArrayNode all = reply.putArray("checkpoints");
        for (Checkpoint c : found) {
            ObjectNode one = all.addObject().put("partition", c.getPartitionId()).put("offset", c.getOffsetString());
            one.put("sequenceNumber", c.getSequenceNumber() == null ? null : c.getSequenceNumber().toString());
        }
        return reply;
    }

    private static String text(JsonNode node, String field) {
        return node.hasNonNull(field) ? node.get(field).asText() : null;
    }
}
