module springtide-client

go 1.22

require (
	github.com/confluentinc/confluent-kafka-go/v2 v2.6.1
	google.golang.org/grpc v1.68.0
	google.golang.org/protobuf v1.35.2
	springtide v0.0.0
)

replace springtide => ./generated/springtide
