// Californium with a value at /t/bench. Arguments: the port, the name of its de-duplicator, and for DTLS an
// identity and its key.
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.eclipse.californium.core.CoapResource;
import org.eclipse.californium.core.CoapServer;
import org.eclipse.californium.core.coap.CoAP.ResponseCode;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.core.server.resources.CoapExchange;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.elements.config.UdpConfig;
import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.config.DtlsConfig.DtlsRole;
import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.californium.scandium.dtls.cipher.CipherSuite;
import org.eclipse.californium.scandium.dtls.pskstore.AdvancedSinglePskStore;

public class Californium {
  public static void main(String[] args) {
    CoapConfig.register();
    UdpConfig.register();
    DtlsConfig.register();
    Configuration configuration = Configuration.createStandardWithoutFile();
    configuration.set(CoapConfig.DEDUPLICATOR, args[1]);
    CoapServer server = new CoapServer(configuration);
    CoapEndpoint.Builder endpoint = new CoapEndpoint.Builder();
    endpoint.setConfiguration(configuration);
    InetSocketAddress address = new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0]));
    if (args.length == 2) {
      endpoint.setInetSocketAddress(address);
    } else {
      endpoint.setConnector(secure(configuration, address, args[2], args[3]));
    }
    server.addEndpoint(endpoint.build());
    CoapResource topics = new CoapResource("t");
    topics.add(new Value());
    server.add(topics);
    server.start();
  }

  private static DTLSConnector secure(
      Configuration configuration, InetSocketAddress address, String identity, String key) {
    configuration.set(DtlsConfig.DTLS_ROLE, DtlsRole.SERVER_ONLY);
    configuration.set(DtlsConfig.DTLS_CIPHER_SUITES, List.of(CipherSuite.TLS_PSK_WITH_AES_128_CCM_8));
    DtlsConnectorConfig.Builder dtls = DtlsConnectorConfig.builder(configuration);
    dtls.setAddress(address);
    dtls.setAdvancedPskStore(new AdvancedSinglePskStore(identity, key.getBytes(StandardCharsets.UTF_8)));
    return new DTLSConnector(dtls.build());
  }

  private static class Value extends CoapResource {
    private volatile byte[] value = new byte[0];

    Value() {
      super("bench");
    }

    @Override
    public void handleGET(CoapExchange exchange) {
      exchange.respond(ResponseCode.CONTENT, value);
    }

    @Override
    public void handlePUT(CoapExchange exchange) {
      value = exchange.getRequestPayload();
      exchange.respond(ResponseCode.CHANGED);
    }
  }
}
