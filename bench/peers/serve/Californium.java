// Californium with a value at /t/bench. Arguments: the port, and the name of its de-duplicator.
import java.net.InetSocketAddress;
import org.eclipse.californium.core.CoapResource;
import org.eclipse.californium.core.CoapServer;
import org.eclipse.californium.core.coap.CoAP.ResponseCode;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.core.server.resources.CoapExchange;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.elements.config.UdpConfig;

public class Californium {
  public static void main(String[] args) {
    CoapConfig.register();
    UdpConfig.register();
    Configuration configuration = Configuration.createStandardWithoutFile();
    configuration.set(CoapConfig.DEDUPLICATOR, args[1]);
    CoapServer server = new CoapServer(configuration);
    CoapEndpoint.Builder endpoint = new CoapEndpoint.Builder();
    endpoint.setConfiguration(configuration);
    endpoint.setInetSocketAddress(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])));
    server.addEndpoint(endpoint.build());
    CoapResource topics = new CoapResource("t");
    topics.add(new Value());
    server.add(topics);
    server.start();
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
