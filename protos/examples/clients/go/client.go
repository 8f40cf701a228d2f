// The smallest whole client in Go: publish what a user did, and ask what to show next. See ../README.md.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	springtide "springtide/v1"
)

func env(name, fallback string) string {
	if value, ok := os.LookupEnv(name); ok {
		return value
	}
	return fallback
}

// publish publishes a purchase, and returns the partition and the offset that the broker acknowledged.
func publish(user, item string) (int32, int64, error) {
	event, err := proto.Marshal(&springtide.Event{
		EventTime: timestamppb.Now(),
		Payload: &springtide.Event_Interaction{
			Interaction: &springtide.Interaction{User: user, Item: item, Type: "purchase"},
		},
	})
	if err != nil {
		return 0, 0, err
	}
	producer, err := kafka.NewProducer(&kafka.ConfigMap{
		"bootstrap.servers":  env("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
		"acks":               "all",
		"message.timeout.ms": 10_000,
		"partitioner":        "murmur2_random", // As Java's clients: one user's events must be in one partition.
	})
	if err != nil {
		return 0, 0, err
	}
	defer producer.Close()
	topic := env("SPRINGTIDE_TOPIC", "springtide.events")
	acknowledged := make(chan kafka.Event, 1)
	err = producer.Produce(&kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: kafka.PartitionAny},
		Key:            []byte(user),
		Value:          event,
	}, acknowledged)
	if err != nil {
		return 0, 0, err
	}
	sent := (<-acknowledged).(*kafka.Message).TopicPartition
	return sent.Partition, int64(sent.Offset), sent.Error
}

// connect opens a channel, with TLS where it is set.
func connect() (*grpc.ClientConn, error) {
	security := grpc.WithInsecure() // Runs with every gRPC 1.x; new code may take credentials/insecure and NewClient.
	if caFile := env("SPRINGTIDE_CA_FILE", ""); caFile != "" {
		tls, err := credentials.NewClientTLSFromFile(caFile, "")
		if err != nil {
			return nil, err
		}
		security = grpc.WithTransportCredentials(tls)
	}
	return grpc.Dial(env("SPRINGTIDE_ADDRESS", "localhost:50051"), security)
}

// main asks for a user's recommendations; if an item is given, as they are once its purchase is in the graph.
func main() {
	if len(os.Args) < 2 {
		log.Fatal("wanted: client USER [ITEM]")
	}
	user := os.Args[1]
	request := &springtide.RecommendRequest{User: user, Count: proto.Int32(5)}
	if len(os.Args) > 2 {
		partition, offset, err := publish(user, os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		// The answer waits for the event, up to a second.
		request.MinPosition = &springtide.GraphPosition{NextOffsets: map[int32]int64{partition: offset + 1}}
	}
	channel, err := connect()
	if err != nil {
		log.Fatal(err)
	}
	defer channel.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if token := env("SPRINGTIDE_TOKEN", ""); token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	response, err := springtide.NewRecommenderServiceClient(channel).Recommend(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	if response.IsBehindMinPosition {
		log.Print("the server has not read the event yet")
	}
	for _, recommended := range response.Items {
		fmt.Printf("%s\t%.4f\n", recommended.Item, recommended.Score)
	}
}
