// The measurements of the store beside the official one, in a module of their own
// so that the official store is not a requirement of the library.
module github.com/ea947076/checkpointstore/bench

go 1.25.0

// For the certificate of the TLS server in internal/backend.
godebug x509usefallbackroots=1

require (
	github.com/Azure/azure-sdk-for-go/sdk/azcore v1.22.0
	github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2 v2.0.2
	github.com/Azure/azure-sdk-for-go/sdk/storage/azblob v1.8.0
	github.com/ea947076/checkpointstore v0.1.0
	github.com/ea947076/checkpointstore/otel v0.1.0
	github.com/ea947076/checkpointstore/processor v0.1.0
	github.com/stretchr/testify v1.12.1
	go.opentelemetry.io/otel/metric v1.46.0
	go.opentelemetry.io/otel/sdk v1.46.0
	go.opentelemetry.io/otel/sdk/metric v1.46.0
	go.opentelemetry.io/otel/trace v1.46.0
)

require (
	github.com/Azure/azure-sdk-for-go/sdk/internal v1.12.0 // indirect
	github.com/Azure/go-amqp v1.5.0 // indirect
	github.com/aclements/go-moremath v0.0.0-20210112150236-f10218a38794 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel v1.46.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/net v0.56.0 // indirect
	golang.org/x/perf v0.0.0-20250813145418-2f7363a06fe1 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.38.0 // indirect
)

replace (
	github.com/ea947076/checkpointstore => ../
	github.com/ea947076/checkpointstore/otel => ../otel
	github.com/ea947076/checkpointstore/processor => ../processor
)

tool golang.org/x/perf/cmd/benchstat
