// A Californium client, with a pre-shared key and a connection id where it is given an
// identity and a key, told by lines on standard input what to do: "put PATH BODY",
// "get PATH", "observe PATH". It prints one line for each answer and notification; that of
// a put ends with what was sent.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import org.eclipse.californium.core.CoapClient;
import org.eclipse.californium.core.CoapHandler;
import org.eclipse.californium.core.CoapResponse;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.elements.config.UdpConfig;
import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.californium.scandium.dtls.SingleNodeConnectionIdGenerator;
import org.eclipse.californium.scandium.dtls.pskstore.AdvancedSinglePskStore;

public class Client {
  public static void main(String[] args) throws Exception {
    CoapConfig.register();
    UdpConfig.register();
    DtlsConfig.register();
    Configuration configuration = Configuration.createStandardWithoutFile();
    configuration.set(DtlsConfig.DTLS_ROLE, DtlsConfig.DtlsRole.CLIENT_ONLY);
    configuration.set(DtlsConfig.DTLS_RECEIVER_THREAD_COUNT, 1);
    configuration.set(DtlsConfig.DTLS_CONNECTOR_THREAD_COUNT, 1);
    CoapEndpoint.Builder endpoint = new CoapEndpoint.Builder();
    endpoint.setConfiguration(configuration);
    if (args.length > 1) {
      DtlsConnectorConfig.Builder builder = DtlsConnectorConfig.builder(configuration);
      builder.setAddress(new InetSocketAddress("127.0.0.1", 0));
      builder.setAdvancedPskStore(new AdvancedSinglePskStore(args[1], args[2].getBytes()));
      builder.setConnectionIdGenerator(new SingleNodeConnectionIdGenerator(0));
      endpoint.setConnector(new DTLSConnector(builder.build()));
    } else {
      endpoint.setInetSocketAddress(new InetSocketAddress("127.0.0.1", 0));
    }
    CoapEndpoint built = endpoint.build();
    built.start();
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] words = line.split(" ", 3);
      CoapClient client = new CoapClient(args[0] + words[1]);
      client.setEndpoint(built);
      client.setTimeout(60000L);
      switch (words[0]) {
        case "put" -> say("put", client.put(words[2], 0), words[2]);
        case "get" -> say("get", client.get(), "");
        default -> client.observe(new CoapHandler() {
          public void onLoad(CoapResponse response) {
            say("observed", response, "");
          }

          public void onError() {
            say("observed", null, "");
          }
        });
      }
    }
    System.exit(0);
  }

  static void say(String what, CoapResponse response, String sent) {
    String came = response == null ? "nothing" : response.getCode() + " " + response.getResponseText();
    System.out.println(what + " " + came + sent);
  }
}
