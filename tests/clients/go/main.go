// A client with net/http, written from /openapi.json:
//
//	go run . http://127.0.0.1:8000 KEY ../question.json
//
// Prints a line of JSON for each call.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"
)

type question struct {
	Query     string   `json:"query"`
	Documents []string `json:"documents"`
}

type rerankRequest struct {
	Model           string   `json:"model,omitempty"`
	Query           string   `json:"query"`
	Documents       []string `json:"documents"`
	TopN            int      `json:"top_n,omitempty"`
	ReturnDocuments bool     `json:"return_documents,omitempty"`
}

type rerankAnswer struct {
	ID      string `json:"id"`
	Model   string `json:"model"`
	Results []struct {
		Index          int     `json:"index"`
		RelevanceScore float64 `json:"relevance_score"`
		Document       struct {
			Text string `json:"text"`
		} `json:"document"`
	} `json:"results"`
}

type teiRerankRequest struct {
	Query string   `json:"query"`
	Texts []string `json:"texts"`
}

type teiRerankAnswer []struct {
	Index int     `json:"index"`
	Score float64 `json:"score"`
}

type searchRequest struct {
	Query string `json:"query"`
	Limit int    `json:"limit,omitempty"`
}

var client = &http.Client{Timeout: 30 * time.Second}

// Post a body as JSON, read the answer of a 200 into answer, and return the status.
func post(url, key string, body, answer any) int {
	encoded, err := json.Marshal(body)
	check(err)
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(encoded))
	check(err)
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("x-request-timeout-ms", "20000")
	response, err := client.Do(request)
	check(err)
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		check(json.NewDecoder(response.Body).Decode(answer))
	}
	return response.StatusCode
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func report(call, name string, found any) {
	version := strings.TrimPrefix(runtime.Version(), "go")
	line, err := json.Marshal(map[string]any{"client": "Go net/http " + version, "call": call, name: found})
	check(err)
	fmt.Println(string(line))
}

func main() {
	url, key, file := os.Args[1], os.Args[2], os.Args[3]
	text, err := os.ReadFile(file)
	check(err)
	var asked question
	check(json.Unmarshal(text, &asked))

	rerank := rerankRequest{Query: asked.Query, Documents: asked.Documents, TopN: 3, ReturnDocuments: true}
	for _, path := range []string{"/v1/rerank", "/v2/rerank", "/rerank"} {
		var answer rerankAnswer
		post(url+path, key, rerank, &answer)
		ranked := [][]float64{}
		for _, each := range answer.Results {
			if each.Document.Text != asked.Documents[each.Index] {
				log.Fatal("expected the text of the document")
			}
			ranked = append(ranked, []float64{float64(each.Index), each.RelevanceScore})
		}
		report(path, "ranked", ranked)
	}

	var scores teiRerankAnswer
	post(url+"/rerank", key, teiRerankRequest{asked.Query, asked.Documents}, &scores)
	ranked := [][]float64{}
	for _, each := range scores {
		ranked = append(ranked, []float64{float64(each.Index), each.Score})
	}
	report("/rerank with texts", "ranked", ranked)

	var found any
	post(url+"/v1/search", key, searchRequest{asked.Query, 2}, &found)
	report("/v1/search", "body", found)

	report("/v1/rerank with a wrong key", "status", post(url+"/v1/rerank", "not the key", rerank, nil))
}
