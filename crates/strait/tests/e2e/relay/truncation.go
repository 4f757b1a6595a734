// Downloads with Go's own client, and ends with curl's exit codes.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

const (
	part    = 18
	refused = 22
)

func main() {
	version, url, token, authority := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	pem, err := os.ReadFile(authority)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	trust := &tls.Config{RootCAs: roots}
	transport := &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: version == "--http2"}
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	answer, err := client.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	if wanted := map[string]int{"--http1.1": 1, "--http2": 2}[version]; answer.ProtoMajor != wanted {
		log.Fatal(answer.Proto)
	}
	if answer.StatusCode != http.StatusOK {
		os.Exit(refused)
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		if os.IsTimeout(err) {
			log.Fatal(err)
		}
		os.Exit(part)
	}
}
