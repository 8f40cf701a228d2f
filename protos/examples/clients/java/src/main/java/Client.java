import com.google.protobuf.Timestamp;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import io.springtide.v1.Event;
import io.springtide.v1.Interaction;
import io.springtide.v1.RecommendRequest;
import io.springtide.v1.RecommendResponse;
import io.springtide.v1.RecommendedItem;
import io.springtide.v1.RecommenderServiceGrpc;
import java.io.File;
import java.time.Instant;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The smallest whole client in Java: publish what a user did, and ask what to show next. See ../README.md. */
public final class Client {
  private static String env(String name, String fallback) {
    return System.getenv().getOrDefault(name, fallback);
  }

  /** Publishes a purchase, and returns the partition and the offset that the broker acknowledged. */
  private static RecordMetadata publish(String user, String item) throws Exception {
    Instant now = Instant.now();
    Event event =
        Event.newBuilder()
            .setEventTime(Timestamp.newBuilder().setSeconds(now.getEpochSecond()).setNanos(now.getNano()))
            .setInteraction(Interaction.newBuilder().setUser(user).setItem(item).setType("purchase"))
            .build();
    Map<String, Object> config =
        Map.of("bootstrap.servers", env("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"), "acks", "all");
    String topic = env("SPRINGTIDE_TOPIC", "springtide.events");
    try (KafkaProducer<String, byte[]> producer =
        new KafkaProducer<>(config, new StringSerializer(), new ByteArraySerializer())) {
      return producer.send(new ProducerRecord<>(topic, user, event.toByteArray())).get(10, TimeUnit.SECONDS);
    }
  }

  /** Opens a channel, with TLS where it is set. */
  private static ManagedChannel connect() throws Exception {
    String caFile = env("SPRINGTIDE_CA_FILE", "");
    ChannelCredentials credentials =
        caFile.isEmpty()
            ? InsecureChannelCredentials.create()
            : TlsChannelCredentials.newBuilder().trustManager(new File(caFile)).build();
    return Grpc.newChannelBuilder(env("SPRINGTIDE_ADDRESS", "localhost:50051"), credentials).build();
  }

  private static RecommenderServiceGrpc.RecommenderServiceBlockingStub recommender(Channel channel) {
    Metadata metadata = new Metadata();
    String token = env("SPRINGTIDE_TOKEN", "");
    if (!token.isEmpty()) {
      metadata.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
    }
    return RecommenderServiceGrpc.newBlockingStub(channel)
        .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata));
  }

  /** Asks for a user's recommendations; if an item is given, as they are once its purchase is in the graph. */
  public static void main(String[] args) throws Exception {
    RecommendRequest.Builder request = RecommendRequest.newBuilder().setUser(args[0]).setCount(5);
    if (args.length > 1) {
      RecordMetadata sent = publish(args[0], args[1]);
      // The answer waits for the event, up to a second.
      request.getMinPositionBuilder().putNextOffsets(sent.partition(), sent.offset() + 1);
    }
    ManagedChannel channel = connect();
    try {
      RecommendResponse response =
          recommender(channel).withDeadlineAfter(2, TimeUnit.SECONDS).recommend(request.build());
      if (response.getIsBehindMinPosition()) {
        System.err.println("the server has not read the event yet");
      }
      for (RecommendedItem recommended : response.getItemsList()) {
        System.out.printf("%s\t%.4f%n", recommended.getItem(), recommended.getScore());
      }
    } finally {
      channel.shutdownNow();
    }
  }
}
