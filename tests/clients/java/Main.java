import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

/**
 * A client with java.net.http, written from /openapi.json:
 *
 * <pre>java Main.java http://127.0.0.1:8000 KEY ../question.json</pre>
 *
 * Prints a line of JSON for each call. The JDK has no JSON: bodies are sent and printed as text.
 */
public class Main {
    /** Offers HTTP/2 in its first request, as it does by default. */
    private static final HttpClient CLIENT =
            HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();

    private static HttpResponse<String> post(String url, String key, String body) throws Exception {
        HttpRequest request =
                HttpRequest.newBuilder(URI.create(url))
                        .timeout(Duration.ofSeconds(30))
                        .header("Authorization", "Bearer " + key)
                        .header("Content-Type", "application/json")
                        .header("x-request-timeout-ms", "20000")
                        .POST(HttpRequest.BodyPublishers.ofString(body))
                        .build();
        return CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
    }

    private static void report(String call, String name, Object value) {
        String client = "Java java.net.http " + Runtime.version().feature();
        System.out.printf(
                "{\"client\": \"%s\", \"call\": \"%s\", \"%s\": %s}%n", client, call, name, value);
    }

    public static void main(String[] args) throws Exception {
        String url = args[0], key = args[1];
        String rerank = Files.readString(Path.of(args[2]));  // is a RerankRequest
        for (String path : new String[] {"/v1/rerank", "/v2/rerank", "/rerank"}) {
            report(path, "body", post(url + path, key, rerank).body());
        }
        String tei = rerank.replace("\"documents\":", "\"texts\":");
        report("/rerank with texts", "body", post(url + "/rerank", key, tei).body());
        String search = "{\"query\": \"how do I take back my last commit?\", \"limit\": 2}";
        report("/v1/search", "body", post(url + "/v1/search", key, search).body());
        int status = post(url + "/v1/rerank", "not the key", rerank).statusCode();
        report("/v1/rerank with a wrong key", "status", status);
    }
}
