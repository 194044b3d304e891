// A client by grpc-go for test/e2e/grpc.test.ts: unary, streams of every kind, a deadline,
// a cancellation and a failure, one word a line on standard output. Messages are text.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type textCodec struct{}

func (textCodec) Marshal(value any) ([]byte, error) { return []byte(*value.(*string)), nil }
func (textCodec) Unmarshal(data []byte, value any) error {
	*value.(*string) = string(data)
	return nil
}
func (textCodec) Name() string { return "proto" }

func main() {
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(textCodec{})))
	check(err)
	defer connection.Close()
	long, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()

	var trailer metadata.MD
	request, answer := "hi", ""
	sent := metadata.AppendToOutgoingContext(long, "x-sent", "there")
	check(connection.Invoke(sent, "/test.Echo/Unary", &request, &answer, grpc.Trailer(&trailer)))
	fmt.Println("unary:", answer, trailer.Get("x-trailer"))

	request = "fail"
	err = connection.Invoke(long, "/test.Echo/Unary", &request, &answer, grpc.Trailer(&trailer))
	fmt.Println("status:", status.Code(err), status.Convert(err).Message(), trailer.Get("x-why"))

	collect := open(long, connection, "Collect", true, false)
	for _, size := range []int{1, 100_000, 3} {
		text := strings.Repeat("x", size)
		check(collect.SendMsg(&text))
	}
	check(collect.CloseSend())
	check(collect.RecvMsg(&answer))
	fmt.Println("collect:", answer)

	list := open(long, connection, "List", false, true)
	request = "item"
	check(list.SendMsg(&request))
	check(list.CloseSend())
	count := 0
	for list.RecvMsg(&answer) == nil {
		count++
	}
	fmt.Println("list:", count, answer)

	talk := open(long, connection, "Talk", true, true)
	for turn := range 3 {
		request = fmt.Sprint("turn ", turn)
		check(talk.SendMsg(&request))
		check(talk.RecvMsg(&answer))
	}
	check(talk.CloseSend())
	fmt.Println("talk:", answer, talk.RecvMsg(&answer) == io.EOF)

	short, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	request = "never"
	err = connection.Invoke(short, "/test.Echo/Unary", &request, &answer)
	cancel()
	fmt.Println("deadline:", status.Code(err))

	cancelled, cancel := context.WithCancel(long)
	talk = open(cancelled, connection, "Talk", true, true)
	request = "first"
	check(talk.SendMsg(&request))
	check(talk.RecvMsg(&answer))
	cancel()
	fmt.Println("cancelled:", status.Code(talk.RecvMsg(&answer)))
}

func open(ctx context.Context, connection *grpc.ClientConn, name string, client, server bool) grpc.ClientStream {
	stream, err := connection.NewStream(ctx,
		&grpc.StreamDesc{StreamName: name, ClientStreams: client, ServerStreams: server}, "/test.Echo/"+name)
	check(err)
	return stream
}

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}
